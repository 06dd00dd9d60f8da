"""Units that go by references in whole jobs: on a tiny model to the bit, on the starter by what is seen."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.images.infotext import parse_infotext
from modules.jobs.executors.base import Cancel
from modules.requests.events import Failed, ImageReady, Order
from modules.requests.img2img import make_img2img_request
from modules.requests.txt2img import make_request
from tests.engine.test_controlling import LEFT, SMALL, noise, picture_of, pixels, same
from tests.tiny import write_tiny

MODULES = ("reference_only", "reference_adain", "reference_adain+attn")
UNIT = {"module": "reference_only", "image": noise(1)}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    data = tmp_path_factory.mktemp("references")
    folder = data / "models" / "Stable-diffusion"
    write_tiny(folder / "tiny.safetensors")
    write_tiny(folder / "inpainting.safetensors", in_channels=9)
    return build_engine(paths=Paths(data=data), use_cpu=True)


@pytest.fixture(scope="module")
def run(engine):
    def run(*units, make=make_request, options=None, checkpoint="tiny", **values):
        settings = Settings().changed({"sd_model_checkpoint": checkpoint, **(options or {})})
        request = make({**SMALL, "control": units, **values})
        return [*engine.run(Order(job="test", request=request, seed=11, options=settings.flat()), Cancel())]

    return run


@pytest.fixture(scope="module")
def draw(run):
    def draw(*units, **values):
        events = run(*units, **values)
        assert not [event for event in events if isinstance(event, Failed)], events
        return [pixels(event) for event in events if isinstance(event, ImageReady)]

    return draw


@pytest.fixture(scope="module")
def plain(draw):
    return draw()[0]


@pytest.mark.parametrize("module", MODULES)
def test_each_way_draws_otherwise_and_leaves_the_model_as_it_was(draw, plain, module):
    unit = {**UNIT, "module": module, "weight": 2}
    one = draw(unit)[0]
    assert not same(one, plain)
    assert same(one, draw(unit)[0])
    assert not same(one, draw({**unit, "image": noise(2)})[0])
    assert same(draw()[0], plain)


@pytest.mark.parametrize("off", [{"weight": 0}, {"enabled": False}, {"guidance_start": 0.99}])
def test_what_does_nothing_is_bit_identical_to_no_unit(draw, plain, off):
    assert same(draw({**UNIT, **off})[0], plain)


def test_fidelity_modes_and_regions_differ(draw):
    ways = ({}, {"threshold_a": 0}, {"threshold_a": 1}, {"weight": 0.4}, {"effective_region_mask": picture_of(LEFT)})
    pictures = [draw({**UNIT, **way})[0] for way in ways]
    assert all(not same(a, b) for i, a in enumerate(pictures) for b in pictures[:i])
    assert same(draw({**UNIT, "control_mode": 2})[0], pictures[2])
    assert same(draw({**UNIT, "control_mode": 1})[0], pictures[1])


def test_works_with_batches_tiles_merged_tokens_and_inpainting_models(draw):
    several = {"module": "reference_only", "images": (noise(1), noise(2))}
    first, second = draw({**several, "input_mode": "batch"}, batch_size=2)
    assert np.abs(first - draw(UNIT)[0]).max() <= 1
    assert not same(first, second)
    assert not same(draw({**several, "input_mode": "merge"})[0], draw(UNIT)[0])
    tiles = {"method": "MultiDiffusion", "tile_width": 16, "tile_height": 16, "overlap": 8}
    size = {"width": 192, "height": 128}
    assert not same(draw(UNIT, tiled_diffusion=tiles, **size)[0], draw(tiled_diffusion=tiles, **size)[0])
    assert not same(draw(UNIT, options={"token_merging_ratio": 0.5})[0], draw(UNIT)[0])
    assert not same(draw(UNIT, checkpoint="inpainting")[0], draw(checkpoint="inpainting")[0])


def test_in_the_hires_pass_too(draw):
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.7}
    both, one, none = (draw(*units, **hires)[0] for units in ((UNIT,), ({**UNIT, "hr_option": "Low res only"},), ()))
    assert not same(both, one)
    assert not same(one, none)


def test_of_img2img_the_first_picture_is_the_reference(draw):
    given = {"make": make_img2img_request, "init_images": (noise(1),), "denoising_strength": 0.8}
    own = draw({"module": "reference_only"}, **given)[0]
    assert same(own, draw(UNIT, **given)[0])
    assert not same(own, draw(**given)[0])


def test_the_infotext_names_no_model(run):
    event = next(e for e in run({**UNIT, "model": "whatever"}) if isinstance(e, ImageReady))
    told = parse_infotext(event.infotext).fields["ControlNet 0"]
    assert told.startswith("Module: reference_only, Model: None, Weight: 1.0")
    assert "Threshold A: 0.5" in told


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"deep_cache": {}}, "deep_cache", "leaves out layers that reference_only"),
        (
            {"options": {"token_merging_ratio": 0.5}, "region": LEFT},
            "token_merging_ratio",
            "the region of control.0 cannot tell merged places apart",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(run, values, field, said):
    values = dict(values)
    unit = {**UNIT, **({"effective_region_mask": picture_of(values.pop("region"))} if "region" in values else {})}
    failed = run(unit, **values)[-1]
    assert isinstance(failed, Failed)
    assert failed.field == field
    assert re.search(said, failed.message), failed.message


@pytest.mark.parametrize(
    ("module", "weight"), [("reference_only", 1), ("reference_adain", 2), ("reference_adain+attn", 1)]
)
def test_the_starters_colours_move_to_the_references(module, weight):
    root = Path(__file__).resolve().parents[2]
    engine = build_engine(paths=Paths(data=root), use_cpu=True)

    def drawn(prompt, seed, *units):
        options = Settings().changed({"sd_model_checkpoint": "starter"})
        given = {"prompt": prompt, "width": 128, "height": 128, "steps": 12, "sampler_name": "Euler", "control": units}
        order = Order(job="test", request=make_request(given), seed=seed, options=options.flat())
        return next(event.data for event in engine.run(order, Cancel()) if isinstance(event, ImageReady))

    def colour(data):
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).reshape(-1, 3).mean(axis=0)

    night, beach = drawn("a red heart at night", 5), drawn("a blue star on a beach", 9)
    reference = {
        "module": module,
        "weight": weight,
        "threshold_a": 1,
        "image": picture_of(np.asarray(Image.open(io.BytesIO(night)).convert("RGB"))),
    }
    moved = drawn("a blue star on a beach", 9, reference)
    apart, near = (np.abs(colour(one) - colour(night)).sum() for one in (beach, moved))
    assert apart > 90
    assert near < 0.65 * apart
