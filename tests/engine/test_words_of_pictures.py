"""T2I style adapters and Revision in whole jobs on tiny models."""

import re

import numpy as np
import pytest
from safetensors.torch import save_file

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.images.infotext import parse_infotext
from modules.jobs.executors.base import Cancel
from modules.requests.events import Failed, ImageReady, Order
from modules.requests.txt2img import make_request
from tests.engine.test_controlling import SMALL, noise, pixels, same
from tests.families.test_sdxl import POOLED, Parts
from tests.tiny import write_tiny
from tests.tiny_control import style_tensors, tensors_of, tiny_vision


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = tmp_path_factory.mktemp("words")
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    save_file(Parts(refiner=False).tensors, data / "models" / "Stable-diffusion" / "xl.safetensors")
    for folder in ("ControlNet", "clip_vision"):
        (data / "models" / folder).mkdir()
    save_file(style_tensors(), data / "models" / "ControlNet" / "style.safetensors")
    save_file(style_tensors(32), data / "models" / "ControlNet" / "narrow.safetensors")
    save_file(style_tensors(width=96), data / "models" / "ControlNet" / "unseen.safetensors")
    save_file(tensors_of(tiny_vision(projection=POOLED)), data / "models" / "clip_vision" / "tiny.safetensors")
    engine = build_engine(paths=Paths(data=data), use_cpu=True)

    def run(*units, checkpoint="tiny", **values):
        settings = Settings().changed({"sd_model_checkpoint": checkpoint})
        request = make_request({**SMALL, "control": units, **values})
        return [*engine.run(Order(job="test", request=request, seed=11, options=settings.flat()), Cancel())]

    return run


@pytest.fixture(scope="module")
def draw(run):
    def draw(*units, **values):
        events = run(*units, **values)
        assert not [event for event in events if isinstance(event, Failed)], events
        return [pixels(event) for event in events if isinstance(event, ImageReady)]

    return draw


@pytest.mark.parametrize(
    ("unit", "checkpoint"),
    [
        ({"module": "clip_vision", "model": "style"}, "tiny"),
        ({"module": "revision_clipvision"}, "xl"),
        ({"module": "revision_ignore_prompt"}, "xl"),
    ],
)
def test_it_changes_the_picture_and_the_model_is_as_it_was(draw, unit, checkpoint):
    def drawn(*units, **values):
        return draw(*units, checkpoint=checkpoint, **values)

    unit, plain = {**unit, "image": noise(1)}, drawn()[0]
    one = drawn(unit)[0]
    assert not same(one, plain)
    assert same(drawn()[0], plain)
    assert same(one, drawn(unit)[0])
    assert not same(one, drawn({**unit, "image": noise(2)})[0])
    assert same(drawn({**unit, "weight": 0})[0], plain)
    assert same(drawn({**unit, "guidance_start": 0.99})[0], plain)
    several = {**unit, "images": (noise(1), noise(2))}
    assert not same(drawn({**several, "input_mode": "merge"})[0], one)
    first, second = drawn({**several, "input_mode": "batch"}, batch_size=2)
    assert np.abs(first - one).max() <= 1
    assert not same(first, second)


def test_only_ignoring_the_prompt_ignores_the_prompt(draw):
    unit = {"image": noise(1)}
    kept, ignored = (
        [draw({**unit, "module": m}, checkpoint="xl", prompt=p)[0] for p in ("a red star", "a blue moon at sea")]
        for m in ("revision_clipvision", "revision_ignore_prompt")
    )
    assert not same(*kept)
    assert same(*ignored)
    noised = draw({**unit, "module": "revision_ignore_prompt", "threshold_a": 0.5}, checkpoint="xl")[0]
    assert not same(noised, ignored[0])


def test_the_infotext_names_the_preprocessor(run):
    event = next(
        e
        for e in run({"module": "t2ia_style_clipvision", "model": "style", "image": noise(1)})
        if isinstance(e, ImageReady)
    )
    assert parse_infotext(event.infotext).fields["ControlNet 0"].startswith("Module: clip_vision, Model: style [")


@pytest.mark.parametrize(
    ("unit", "checkpoint", "said"),
    [
        ({"module": "revision_clipvision"}, "tiny", "for Stable Diffusion XL; .* Stable Diffusion 1.x"),
        ({"model": "narrow"}, "tiny", "words are 32 wide; the U-Net of .tiny. reads words of 64"),
        ({"model": "unseen"}, "tiny", "needs a CLIP vision network of width 96"),
    ],
)
def test_what_does_not_go_together_is_refused(run, unit, checkpoint, said):
    failed = run({**unit, "image": noise(1)}, checkpoint=checkpoint)[-1]
    assert isinstance(failed, Failed)
    assert re.search(said, failed.message), failed.message
