"""The engine with the built-in scripts."""

from collections.abc import Sequence
from typing import Any

from modules.engine import build
from modules.engine.engine import Engine
from modules.engine.scripts import Script
from modules.plugins.extensions import Extension
from modules.scripts.alternative import Alternative
from modules.scripts.extending import extended
from modules.scripts.loopback import Loopback
from modules.scripts.matrix import PromptMatrix
from modules.scripts.outpainting import PoorMansOutpainting
from modules.scripts.outpainting_mk2 import OutpaintingMk2
from modules.scripts.plot import PlotScript
from modules.scripts.prompts import PromptsFromFile
from modules.scripts.sd_upscale import SDUpscale
from modules.scripts.ultimate import UltimateUpscale


def built_in() -> tuple[Script, ...]:
    """Those that come with the program, in the order users see them."""
    return (
        *(PlotScript(), PromptMatrix(), PromptsFromFile()),
        *(Alternative(), Loopback(), OutpaintingMk2(), PoorMansOutpainting(), SDUpscale(), UltimateUpscale()),
    )


def build_engine(*, extensions: Sequence[Extension] = (), **arguments: Any) -> Engine:
    """As `modules.engine.build.build_engine`, with every built-in script and what the extensions add."""
    scripts = built_in()
    more, hooks = extended(extensions, [script.title for script in scripts])
    return build.build_engine(**arguments, scripts=(*scripts, *more), hooks=hooks)
