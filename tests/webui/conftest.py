"""A service with the stand-in engine and two checkpoints that bring defaults of their own."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import gradio as gr
import pytest

from modules.jobs.service import JobService
from tests.jobs.helpers import puppet_inline, running, write_checkpoint
from webui.parts.quicksettings import build_quicksettings
from webui.tabs.txt2img import Txt2ImgTab

Built = TypeVar("Built")

SMALL = {"width": 128, "height": 192, "steps": 12, "cfg_scale": 3.5, "prompt": "a red boat", "sampler_name": "Euler a"}
LARGE = {"width": 768, "height": 768, "steps": 30, "cfg_scale": 9.0}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[JobService]:
    """Running; its checkpoints are large.safetensors and small.safetensors."""
    folder = tmp_path / "models" / "Stable-diffusion"
    write_checkpoint(folder / "small.safetensors", {"atelier.defaults": json.dumps(SMALL)})
    write_checkpoint(folder / "large.safetensors", {"atelier.defaults": json.dumps(LARGE)})
    with running(tmp_path, puppet_inline(), sd_model_checkpoint="small.safetensors") as found:
        yield found


def built(build: Callable[[], Built]) -> Built:
    """What `build` makes, made inside a running event loop: outside one, gradio opens a loop and never closes it."""

    async def run() -> Built:
        return build()

    return asyncio.run(run())


@pytest.fixture
def tab(service: JobService) -> Txt2ImgTab:
    """The tab over that service."""

    def build() -> Txt2ImgTab:
        with gr.Blocks(analytics_enabled=False):
            return Txt2ImgTab(service, *build_quicksettings())

    return built(build)
