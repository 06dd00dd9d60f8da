"""Control-LoRA and ControlNet-LLLite in whole jobs on a tiny model."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.jobs.executors.base import Cancel
from modules.requests.events import Failed, ImageReady, Order
from modules.requests.txt2img import make_request
from tests.engine.test_controlling import LEFT, SMALL, noise, picture_of, pixels, same
from tests.tiny import tiny_parts, write_tiny
from tests.tiny_control import control_lora_tensors, lllite_tensors, tiny_controlnet, tiny_lites

KINDS = ("lora", "lllite")
WIDE = {"middle_block.1.transformer_blocks.0.attn2.to_k.down": torch.zeros(4, 1024), "lora_controlnet": torch.zeros(0)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = tmp_path_factory.mktemp("beside")
    models = data / "models" / "Stable-diffusion"
    write_tiny(models / "tiny.safetensors")
    write_tiny(models / "other.safetensors", seed=1)
    folder = data / "models" / "ControlNet"
    folder.mkdir()
    unet = tiny_parts()["unet"]
    lites = lllite_tensors(tiny_lites(unet))
    torch.manual_seed(0)
    save_file(control_lora_tensors(unet, tiny_controlnet())[0], folder / "lora.safetensors")
    save_file(lites, folder / "lllite.safetensors")
    save_file(WIDE, folder / "wide.safetensors")
    xl = {name.replace("transformer_blocks_0", "transformer_blocks_1"): value for name, value in lites.items()}
    deeper = {
        name: value for name, value in xl.items() if "input_blocks_1_" not in name and "input_blocks_2_" not in name
    }
    save_file(deeper, folder / "xl.safetensors")
    part = {name.replace("middle_block", "output_blocks_0"): value for name, value in lites.items()}
    save_file(part, folder / "part.safetensors")
    engine = build_engine(paths=Paths(data=data), use_cpu=True)

    def run(*units, options=None, checkpoint="tiny", **values):
        settings = Settings().changed({"sd_model_checkpoint": checkpoint, **(options or {})})
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


@pytest.mark.parametrize("kind", KINDS)
def test_it_changes_the_picture_and_the_model_is_as_it_was(draw, kind):
    unit, plain = {"model": kind, "image": noise(1)}, draw()[0]
    one = draw(unit)[0]
    assert not same(one, plain)
    assert same(draw()[0], plain)
    assert same(one, draw(unit)[0])
    assert not same(one, draw({**unit, "image": noise(2)})[0])
    assert same(draw({**unit, "weight": 0})[0], plain)
    assert same(draw({**unit, "guidance_start": 0.99})[0], plain)
    assert same(draw({**unit, "effective_region_mask": picture_of(LEFT * 0)})[0], plain)
    ways = ({"weight": 0.5}, {"control_mode": 2}, {"effective_region_mask": picture_of(LEFT)}, {"guidance_end": 0.3})
    pictures = [one, *(draw({**unit, **way})[0] for way in ways)]
    assert all(not same(a, b) for i, a in enumerate(pictures) for b in pictures[:i])


@pytest.mark.parametrize("kind", KINDS)
def test_it_works_in_batches_and_tiles_and_with_other_units(draw, kind):
    unit = {"model": kind, "image": noise(1)}
    several = {"model": kind, "images": (noise(1), noise(2)), "input_mode": "batch"}
    first, second = draw(several, batch_size=2)
    assert np.abs(first - draw(unit)[0]).max() <= 1
    assert not same(first, second)
    assert not same(draw({**several, "input_mode": "merge"})[0], draw(unit)[0])
    tiles = {"method": "MultiDiffusion", "tile_width": 16, "tile_height": 16, "overlap": 8}
    size = {"width": 192, "height": 128}
    assert not same(draw(unit, tiled_diffusion=tiles, **size)[0], draw(tiled_diffusion=tiles, **size)[0])
    reference = {"module": "reference_only", "image": noise(2)}
    assert not same(draw(unit, reference)[0], draw(unit)[0])
    assert not same(draw(unit, reference)[0], draw(reference)[0])


def test_a_control_lora_is_made_again_for_another_checkpoint(draw):
    unit = {"model": "lora", "image": noise(1)}
    first = draw(unit, checkpoint="other")[0]
    draw(unit)
    assert same(draw(unit, checkpoint="other")[0], first)


@pytest.mark.parametrize(
    ("model", "options", "field", "said"),
    [
        ("wide", {}, "control.0.model", "a Control-LoRA for Stable Diffusion 2.x; .* family Stable Diffusion 1.x"),
        ("xl", {}, "control.0.model", "a ControlNet-LLLite for Stable Diffusion XL; .* family Stable Diffusion 1.x"),
        ("part", {}, "control.0.model", r"of which \d+ of \d+ modules fit the U-Net"),
        ("lllite", {"token_merging_ratio": 0.5}, "token_merging_ratio", '"lllite" cannot tell merged places apart'),
    ],
)
def test_what_does_not_go_together_is_refused(run, model, options, field, said):
    failed = run({"model": model, "image": noise(1)}, options=options)[-1]
    assert isinstance(failed, Failed)
    assert failed.field == field
    assert re.search(said, failed.message), failed.message
