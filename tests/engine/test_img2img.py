"""Image to image and inpainting in whole jobs on a tiny model."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.images.infotext import parse_infotext
from modules.images.inpainting_infotext import to_img2img_values
from modules.jobs.executors.base import Cancel
from modules.requests.events import Done, Failed, ImageReady, Order, Warned
from modules.requests.img2img import make_img2img_request
from modules.requests.pictures import Picture
from tests.tiny import write_tiny

SMALL = {"prompt": "a red star", "width": 64, "height": 64, "steps": 4, "sampler_name": "Euler", "mask_blur_x": 0}


def png(image: Image.Image) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return Picture.of(buffer.getvalue())


def gradient(width=64, height=64) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, 0 * x + 90], axis=-1).astype(np.uint8))


def disc(width=64, height=64, centre=(40, 32), radius=14) -> Image.Image:
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).circle(centre, radius, fill=255)
    return mask


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    data = tmp_path_factory.mktemp("engine")
    models = data / "models" / "Stable-diffusion"
    write_tiny(models / "tiny.safetensors")
    write_tiny(models / "nine.safetensors", in_channels=9)
    write_tiny(models / "eight.safetensors", in_channels=8)
    return build_engine(paths=Paths(data=data), use_cpu=True)


@pytest.fixture(scope="module")
def run(engine):
    """A function that does a job over SMALL, and gives its events."""

    def run(**values):
        options = Settings().changed({"sd_model_checkpoint": "tiny", **values.pop("override_settings", {})}).flat()
        values.setdefault("init_images", (png(gradient()),))
        request = make_img2img_request({**SMALL, "mask_blur_y": values.get("mask_blur_x", 0), **values})
        order = Order(job="test", request=request, seed=11, options=options)
        return [*engine.run(order, Cancel())]

    return run


@pytest.fixture(scope="module")
def draw(run):
    """The pictures of a job, as arrays."""

    def draw(**values):
        return [pixels(event) for event in run(**values) if isinstance(event, ImageReady)]

    return draw


def pixels(event):
    return np.asarray(Image.open(io.BytesIO(event.data))).astype(int)


def far(one, other):
    return np.abs(one - other).mean()


def test_the_stronger_the_farther(draw):
    plain = draw(denoising_strength=0.0)[0]
    steps = [far(plain, draw(denoising_strength=strength)[0]) for strength in (0.3, 0.6, 1.0)]
    assert 0 < steps[0] < steps[1] < steps[2]


def test_the_same_again(draw):
    assert far(draw()[0], draw()[0]) == 0


@pytest.mark.parametrize(("mode", "size"), [(2, (96, 32)), (1, (1, 1)), (3, (1, 1)), (1, (1, 3000)), (3, (100, 35))])
def test_resize_modes_take_every_shape(draw, mode, size):
    assert draw(init_images=(png(gradient(*size)),), resize_mode=mode)[0].shape == (64, 64, 3)


def test_one_for_all_and_one_each(draw, run):
    one, other = png(gradient()), png(Image.new("RGB", (64, 64), "white"))
    both = draw(init_images=(one, other), batch_size=2, n_iter=2, denoising_strength=0.3)
    assert len(both) == 4
    for_all = draw(init_images=(one,), batch_size=2, denoising_strength=0.3)
    assert far(both[0], for_all[0]) == 0
    assert far(both[1], for_all[1]) > 0
    assert len(draw(init_images=(one, other), batch_size=3)) == 2
    failed = run(init_images=(one, other))[-1]
    assert isinstance(failed, Failed)
    assert "init_images are 2 and batch_size is 1" in failed.message


def test_infotext_asks_for_the_same_again(run):
    values = {
        "denoising_strength": 0.4,
        "mask": png(disc()),
        "mask_blur_x": 3,
        "inpainting_mask_invert": 1,
        "inpainting_fill": 2,
        "inpaint_full_res": 1,
        "inpaint_full_res_padding": 7,
        "initial_noise_multiplier": 0.9,
        "soft_inpainting": {"mask_blend_power": 2.0, "composite_difference_contrast": 3.5},
    }
    events = run(**values)
    text = parse_infotext(next(event for event in events if isinstance(event, ImageReady)).infotext)
    found = to_img2img_values(text)
    again = make_img2img_request({**found, "seed": 11, "init_images": (png(gradient()),)})
    wanted = make_img2img_request({**SMALL, **values, "mask_blur_y": 3, "init_images": (png(gradient()),)})
    for name in ("denoising_strength", "mask_blur_x", "mask_blur_y", "inpainting_mask_invert", "inpainting_fill"):
        assert getattr(again, name) == getattr(wanted, name), name
    for name in ("inpaint_full_res", "inpaint_full_res_padding", "soft_inpainting", "steps", "width", "mask_round"):
        assert getattr(again, name) == getattr(wanted, name), name
    assert text.fields["Noise multiplier"] == "0.9"
    done = events[-1]
    assert isinstance(done, Done)
    assert done.info["denoising_strength"] == 0.4


def test_settings_change_the_picture(draw):
    plain = draw()[0]
    for change in (
        {"initial_noise_multiplier": 0.8},
        {"img2img_extra_noise": 0.3},
        {"img2img_color_correction": True},
        {"img2img_fix_steps": True},
    ):
        assert far(plain, draw(override_settings=change)[0]) > 0, change
    transparent = png(Image.new("RGBA", (64, 64), (0, 0, 0, 0)))
    white = draw(init_images=(transparent,))[0]
    assert far(white, draw(init_images=(transparent,), override_settings={"img2img_background_color": "#202020"})[0])


@pytest.mark.parametrize("area", [0, 1])
@pytest.mark.parametrize("content", range(4))
def test_what_is_not_masked_stays(draw, area, content):
    image, mask = gradient(80, 72), disc(80, 72)
    size = {} if area else {"width": 80, "height": 72}
    found = draw(init_images=(png(image),), mask=png(mask), inpainting_fill=content, inpaint_full_res=area, **size)[0]
    outside = np.asarray(mask) == 0
    assert np.abs(found - np.asarray(image))[outside].max() == 0
    assert np.abs(found - np.asarray(image))[~outside].mean() > 1


def test_inverted_mask_and_latent_mask(draw):
    image = gradient()
    found = draw(mask=png(disc()), inpainting_mask_invert=1, inpaint_full_res=0)[0]
    inside = np.asarray(disc()) > 0
    assert np.abs(found - np.asarray(image))[inside].max() == 0
    assert np.abs(found - np.asarray(image))[~inside].mean() > 1
    other = draw(mask=png(disc()), latent_mask=png(disc(radius=31)), inpaint_full_res=0)[0]
    assert far(other, draw(mask=png(disc()), inpaint_full_res=0)[0]) > 0


@pytest.mark.parametrize("sampler", ["DDIM", "PLMS", "UniPC", "DPM++ 2M SDE", "DPM fast", "LCM", "Heun", "DDIM CFG++"])
def test_samplers_keep_what_stays(draw, sampler):
    for strength in (0.0, 0.5, 1.0):
        found = draw(sampler_name=sampler, mask=png(disc()), inpaint_full_res=0, denoising_strength=strength)[0]
        assert np.abs(found - np.asarray(gradient()))[np.asarray(disc()) == 0].max() == 0


def test_blank_mask_is_told_and_changes_nothing_else(run, draw):
    blank = png(Image.new("L", (64, 64)))
    events = run(mask=blank, inpaint_full_res=1)
    assert any(isinstance(event, Warned) and "mask is blank" in event.message for event in events)
    assert far(draw(mask=blank)[0], draw()[0]) == 0
    assert np.abs(draw(mask=blank, inpaint_full_res=0)[0] - np.asarray(gradient())).max() == 0


@pytest.mark.parametrize("size", [(32, 96), (1, 1), (640, 64)])
@pytest.mark.parametrize("area", [0, 1])
def test_mask_of_another_size_is_brought_to_the_picture(draw, size, area):
    mask = Image.new("L", size, 255)
    assert draw(mask=png(mask), inpaint_full_res=area, resize_mode=0)[0].shape == (64, 64, 3)


def test_soft_inpainting(draw):
    soft_mask = disc(192, 64, (150, 32), 30).resize((24, 8)).resize((192, 64))
    wide = {"init_images": (png(gradient(192, 64)),), "mask": png(soft_mask), "width": 192}
    hard = draw(**wide, inpaint_full_res=0)[0]
    soft = draw(**wide, inpaint_full_res=0, soft_inpainting={})[0]
    assert far(hard, soft) > 0
    assert np.abs(soft - np.asarray(gradient(192, 64)))[:, :32].max() <= 1
    assert np.abs(soft - np.asarray(gradient(192, 64)))[:, 140:160].mean() > 1
    part = draw(**wide, inpaint_full_res=1, soft_inpainting={"composite_mask_influence": 1.0})[0]
    assert far(part, soft) > 0


def test_inpainting_models_see_the_masked_picture(draw):
    nine = {"sd_model_checkpoint": "nine"}
    image, other = png(gradient()), png(Image.new("RGB", (64, 64), "white"))
    full = draw(override_settings=nine, mask=png(disc()), denoising_strength=1.0, inpaint_full_res=0)[0]
    weak = {**nine, "inpainting_mask_weight": 0.3}
    assert far(full, draw(override_settings=weak, mask=png(disc()), denoising_strength=1.0, inpaint_full_res=0)[0])
    assert draw(override_settings=nine, init_images=(image, other), batch_size=2, resize_mode=3)


def test_instruct_pix2pix(draw, run):
    eight = {"sd_model_checkpoint": "eight"}
    found = [draw(override_settings=eight, image_cfg_scale=scale)[0] for scale in (None, 1.0, 1.5, 3.0)]
    assert far(found[0], found[1]) == 0
    assert 0 < far(found[1], found[2]) < far(found[1], found[3])
    event = next(event for event in run(override_settings=eight, image_cfg_scale=1.5) if isinstance(event, ImageReady))
    assert parse_infotext(event.infotext).fields["Image CFG scale"] == "1.5"
