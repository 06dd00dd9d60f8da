"""ControlNet units in whole jobs on a tiny model: each mode does what it says, weight 0 does nothing, and nothing is left behind."""

import io

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.images.infotext import parse_infotext
from modules.jobs.executors.base import Cancel
from modules.requests.events import Failed, ImageReady, Order
from modules.requests.img2img import make_img2img_request
from modules.requests.pictures import Picture
from modules.requests.txt2img import make_request
from tests.tiny import tiny_parts, write_tiny
from tests.tiny_control import ip_adapter_tensors, tensors_of, tiny_controlnet, tiny_vision, write_controlnet

SMALL = {"prompt": "a red star", "width": 64, "height": 64, "steps": 4, "sampler_name": "Euler", "cfg_scale": 7}


def picture_of(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return Picture.of(buffer.getvalue())


def noise(seed, size=(64, 64)):
    return picture_of(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


LEFT = np.zeros((64, 64, 3), np.uint8)
LEFT[:, :32] = 255
UNIT = {"model": "canny", "image": noise(1)}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    data = tmp_path_factory.mktemp("engine")
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    folder = data / "models" / "ControlNet"
    write_controlnet(folder / "canny.safetensors", tiny_controlnet(1), "ldm")
    write_controlnet(folder / "depth" / "diffusion_pytorch_model.safetensors", tiny_controlnet(2))
    write_controlnet(folder / "wide.safetensors", tiny_controlnet(3, cross_attention_dim=128))
    xl = {"use_linear_projection": True, "attention_head_dim": (1, 1), "block_out_channels": (64, 64)}
    write_controlnet(
        folder / "xl.safetensors",
        tiny_controlnet(4, **xl, class_embed_type="projection", projection_class_embeddings_input_dim=32),
    )
    ip, vision = folder / "ip.safetensors", data / "models" / "clip_vision" / "tiny.safetensors"
    save_file(ip_adapter_tensors(tiny_parts()["unet"]), ip)
    vision.parent.mkdir()
    save_file(tensors_of(tiny_vision()), vision)
    return build_engine(paths=Paths(data=data), use_cpu=True)


@pytest.fixture(scope="module")
def run(engine):
    def run(make=make_request, **values):
        options = Settings().changed({"sd_model_checkpoint": "tiny"})
        order = Order(job="test", request=make({**SMALL, **values}), seed=11, options=options.flat())
        return [*engine.run(order, Cancel())]

    return run


@pytest.fixture(scope="module")
def draw(run):
    def draw(*units, **values):
        events = run(control=units, **values)
        assert not [event for event in events if isinstance(event, Failed)], events
        return [pixels(event) for event in events if isinstance(event, ImageReady)]

    return draw


def pixels(event):
    return np.asarray(Image.open(io.BytesIO(event.data))).astype(int)


@pytest.fixture(scope="module")
def plain(draw):
    return draw()[0]


def same(a, b):
    return np.array_equal(a, b)


def test_a_unit_changes_the_picture_and_nothing_is_left_behind(draw, plain):
    one = draw(UNIT)[0]
    assert not same(one, plain)
    assert not same(one, draw({**UNIT, "image": noise(2)})[0])
    assert same(one, draw(UNIT)[0])
    assert same(draw()[0], plain)


@pytest.mark.parametrize("off", [{"weight": 0}, {"enabled": False}, {"model": "None"}])
def test_what_does_nothing_is_bit_identical_to_no_unit(draw, plain, off):
    assert same(draw({**UNIT, **off})[0], plain)


def test_two_units_work_together(draw):
    other = {"model": "depth", "image": noise(2)}
    both = draw(UNIT, other)[0]
    assert not same(both, draw(UNIT)[0])
    assert not same(both, draw(other)[0])
    assert same(both, draw(UNIT, other)[0])


def test_modes_weights_and_turns_differ(draw):
    ways = (
        {},
        {"control_mode": 1},
        {"control_mode": 2},
        {"weight": 0.5},
        {"guidance_end": 0.3},
        {"guidance_start": 0.3},
    )
    pictures = [draw({**UNIT, **way})[0] for way in ways]
    assert all(not same(a, b) for i, a in enumerate(pictures) for b in pictures[:i])


def test_a_turn_that_never_comes_changes_nothing(draw, plain):
    assert same(draw({**UNIT, "guidance_start": 0.99, "guidance_end": 1.0})[0], plain)


def test_a_region_keeps_the_unit_to_its_part(draw, plain):
    whole = draw(UNIT)[0]
    masked = draw({**UNIT, "effective_region_mask": picture_of(LEFT)})[0]
    assert not same(masked, whole)
    assert not same(masked, plain)
    assert same(draw({**UNIT, "effective_region_mask": picture_of(LEFT * 0)})[0], plain)


def test_advanced_weighting_counts_instead_of_the_weight(draw):
    flat = draw({**UNIT, "advanced_weighting": (1.0,) * 13, "weight": 0.3})[0]
    assert same(flat, draw(UNIT)[0])
    assert not same(flat, draw({**UNIT, "advanced_weighting": (1.0, 0.0, 0.0, 0.0, 0.0)})[0])


def test_each_picture_of_a_batch_is_its_own(draw):
    unit = {"model": "canny", "input_mode": "batch", "images": (noise(1), noise(2))}
    first, second = draw(unit, batch_size=2)
    assert np.abs(first - draw(UNIT)[0]).max() <= 1  # a batch of two adds up in another order
    one_by_one = draw(unit, n_iter=2)
    assert np.abs(one_by_one[1] - second).max() <= 1


def test_several_pictures_at_once_are_all_looked_at(draw):
    unit = {"model": "canny", "input_mode": "merge", "images": (noise(1), noise(2))}
    both = draw(unit)[0]
    assert not same(both, draw(UNIT)[0])
    assert not same(both, draw({**UNIT, "image": noise(2)})[0])


def test_works_in_tiles_and_without_guidance(draw, plain):
    tiles = {"method": "MultiDiffusion", "tile_width": 16, "tile_height": 16, "overlap": 8}
    size = {"width": 192, "height": 128}
    assert not same(draw(UNIT, tiled_diffusion=tiles, **size)[0], draw(tiled_diffusion=tiles, **size)[0])
    assert not same(draw(UNIT, cfg_scale=1)[0], draw(cfg_scale=1)[0])


@pytest.mark.parametrize("option", ["Low res only", "High res only"])
def test_hires_options_choose_the_pass(draw, option):
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.7}
    both, one, none = (draw(*units, **hires)[0] for units in ((UNIT,), ({**UNIT, "hr_option": option},), ()))
    assert not same(both, one)
    assert not same(one, none)


def test_of_img2img_the_first_picture_is_looked_at_unless_there_is_another(run):
    def drawn(*units):
        events = run(make_img2img_request, control=units, init_images=(noise(1),), denoising_strength=0.8)
        return next(pixels(event) for event in events if isinstance(event, ImageReady))

    own = drawn({"model": "canny"})
    assert same(own, drawn(UNIT))
    assert not same(own, drawn({**UNIT, "image": noise(2)}))
    assert not same(own, drawn())


def test_infotext_tells_of_units(run):
    event = next(e for e in run(control=(UNIT, {**UNIT, "weight": 0})) if isinstance(e, ImageReady))
    fields = parse_infotext(event.infotext).fields
    assert fields["ControlNet 0"].startswith("Module: none, Model: canny [")
    assert "ControlNet 1" not in fields


@pytest.mark.parametrize(
    ("unit", "field", "said"),
    [
        ({"model": "canny"}, "control.0.image", "has no picture to go by"),
        ({**UNIT, "model": "xl"}, "control.0.model", "for Stable Diffusion XL; .* family Stable Diffusion 1.x"),
        ({**UNIT, "model": "wide"}, "control.0.model", "cross_attention_dim is 128; that of .* has 64"),
        ({**UNIT, "model": "gone"}, "control.0.model", "is not known"),
        ({"module": "canny", "image": noise(1)}, "control.0.model", "canny alone changes no picture"),
        ({"module": "reference_only"}, "control.0.image", "has no picture to go by"),
        ({**UNIT, "module": "inpaint_only"}, "mask", "needs a mask"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_drawn(run, unit, field, said):
    events = run(control=(unit,))
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert failed.field == field
    import re

    assert re.search(said, failed.message), failed.message
    assert not [event for event in events if isinstance(event, ImageReady)]


def test_only_the_masked_part_is_looked_at_unless_the_whole_is_asked_for(run):
    mask = np.zeros((64, 64), np.uint8)
    mask[8:24, 8:24] = 255
    given = {"init_images": (noise(1),), "mask": picture_of(mask), "inpaint_full_res": 1, "denoising_strength": 0.8}

    def drawn(**unit):
        events = run(make_img2img_request, control=({"model": "canny", **unit},), **given)
        return next(pixels(event) for event in events if isinstance(event, ImageReady))

    assert not same(drawn(), drawn(inpaint_crop_input_image=False))


def test_image_prompts_count_by_weight_turn_and_region(draw, plain):
    unit = {"model": "ip", "image": noise(1)}
    one = draw(unit)[0]
    assert not same(one, plain)
    assert same(one, draw(unit)[0])
    assert same(draw({**unit, "weight": 0})[0], plain)
    assert same(draw({**unit, "guidance_start": 0.99})[0], plain)
    assert same(draw({**unit, "effective_region_mask": picture_of(LEFT * 0)})[0], plain)
    assert not same(draw({**unit, "effective_region_mask": picture_of(LEFT)})[0], one)
    several = {**unit, "images": (noise(1), noise(2))}
    assert not same(draw({**several, "input_mode": "merge"})[0], one)
    assert np.abs(draw({**several, "input_mode": "batch"}, batch_size=2)[0] - one).max() <= 1
    assert not same(draw(unit, UNIT)[0], one)
