"""Image to image with tiny FLUX.1 models: plain ones, those that are shown pictures, and those that see more than latents."""

import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.families.source import BACKBONE
from modules.jobs.executors.base import Cancel
from modules.requests.events import Failed, ImageReady, Order
from modules.requests.img2img import make_img2img_request
from tests.engine.test_img2img import disc, far, gradient, pixels, png
from tests.tiny_flux import flux_parts, original, tiny_flux
from tests.tiny_modern import behind, tensors_of
from tests.tiny_t5 import write_tokenizer

KINDS = {"dev": 64, "kontext": 64, "fill": 384, "depth": 128}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = tmp_path_factory.mktemp("flux")
    folder = data / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    for kind, channels in KINDS.items():
        tensors = {**behind(BACKBONE, original(tensors_of(tiny_flux(in_channels=channels)))), **flux_parts()}
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / f"{kind}.safetensors")
    shutil.copytree(write_tokenizer(data / "tokenizer"), data / "models" / "tokenizers" / "t5xxl")
    engine = build_engine(paths=Paths(data=data), use_cpu=True)

    def run(kind, *images, **values):
        options = Settings().changed({"sd_model_checkpoint": kind, "randn_source": "CPU"}).flat()
        small = {"prompt": "a red star", "width": 64, "height": 64, "steps": 2, "cfg_scale": 1, "sampler_name": "Euler"}
        pictures = tuple(png(image) for image in images or (gradient(),))
        request = make_img2img_request({**small, "scheduler": "Simple", "init_images": pictures, **values})
        return [*engine.run(Order(job="t", request=request, seed=7, options=options), Cancel())]

    return run


def drawn(events):
    (found,) = [pixels(event) for event in events if isinstance(event, ImageReady)]
    return found


WHITE = Image.new("RGB", (64, 64), "white")


def test_flow_models_draw_on(run):
    plain = drawn(run("dev", denoising_strength=0.0))
    assert far(plain, drawn(run("dev", denoising_strength=0.6))) > 0


def test_kontext_is_shown_all_pictures_and_others_refuse_more_than_a_batch(run):
    one, both = drawn(run("kontext", gradient())), drawn(run("kontext", gradient(), WHITE))
    assert far(one, both) > 0
    assert far(one, drawn(run("dev", gradient()))) > 0
    failed = run("dev", gradient(), WHITE)[-1]
    assert isinstance(failed, Failed)
    assert "init_images are 2" in failed.message


def test_fill_and_depth_see_the_picture(run):
    whole = {"denoising_strength": 1.0, "inpainting_fill": 3, "inpaint_full_res": 0, "mask_blur_x": 0, "mask_blur_y": 0}
    found = drawn(run("fill", gradient(), mask=png(disc()), **whole))
    outside = np.asarray(disc()) == 0
    assert np.abs(found - np.asarray(gradient()))[outside].max() == 0
    other = drawn(run("fill", WHITE, mask=png(disc()), **whole))
    assert np.abs(found - other)[~outside].mean() > 0
    assert far(drawn(run("depth", gradient())), drawn(run("depth", WHITE))) > 0
