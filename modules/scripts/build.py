"""The engine with the built-in scripts."""

from typing import Any

from modules.engine import build
from modules.engine.engine import Engine
from modules.engine.scripts import Script
from modules.scripts.alternative import Alternative
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


def build_engine(**arguments: Any) -> Engine:
    """As `modules.engine.build.build_engine`, with every built-in script."""
    return build.build_engine(**arguments, scripts=built_in())
