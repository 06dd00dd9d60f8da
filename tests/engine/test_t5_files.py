"""FLUX.1 and Stable Diffusion 3 as users keep them: separate files, GGUF, diffusers folders. All draw what the whole file draws."""

import numpy as np
import pytest

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.families.ldm_keys import VAE
from modules.families.source import BACKBONE, text_prefix
from modules.jobs.executors.base import Cancel
from modules.requests.events import Failed, Order
from modules.requests.txt2img import make_request
from tests.engine.test_families import infotext, pictures
from tests.engine.test_parts import behind, save
from tests.families import test_flux
from tests.families.test_gguf_weights import written
from tests.tiny_flux import tiny_flux, whole_flux
from tests.tiny_modern import behind as prefixed
from tests.tiny_sd3 import sd3_named, sd3_original, sd3_parts, tiny_sd3
from tests.tiny_t5 import write_tokenizer

SMALL = {"prompt": "a red star", "width": 64, "height": 64, "steps": 2, "sampler_name": "Euler", "cfg_scale": 1}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    data = tmp_path_factory.mktemp("flux")
    models = data / "models"
    whole = whole_flux()
    save(models / "Stable-diffusion/whole.safetensors", whole)
    save(models / "diffusion_models/flux1-dev.safetensors", behind(BACKBONE, whole))
    (models / "unet").mkdir()
    written(models / "unet/flux1-dev-Q8_0.gguf", behind(BACKBONE, whole))
    save(models / "VAE/ae.safetensors", behind(VAE, whole))
    save(models / "text_encoder/clip_l.safetensors", behind(text_prefix("clip_l"), whole))
    save(models / "text_encoder/t5xxl_fp16.safetensors", behind(text_prefix("t5xxl"), whole))
    write_tokenizer(models / "tokenizers/t5xxl")
    test_flux.pipeline(tiny_flux()).save_pretrained(models / "Stable-diffusion/FLUX.1-dev")
    save(models / "Stable-diffusion/sd3.safetensors", {**prefixed(BACKBONE, sd3_network()), **sd3_parts(t5=False)})
    save(models / "Stable-diffusion/sd3_t5.safetensors", {**prefixed(BACKBONE, sd3_network()), **sd3_parts()})
    return build_engine(paths=Paths(data=data), use_cpu=True)


def sd3_network():
    return sd3_original(sd3_named(tiny_sd3()))


def run(engine, name, *, values=None, **options):
    settings = Settings().changed({"sd_model_checkpoint": name, "randn_source": "CPU", **options})
    order = Order(job="t", request=make_request({**SMALL, **(values or {})}), seed=5, options=settings.flat())
    return list(engine.run(order, Cancel()))


def test_flux_in_parts_and_as_a_folder_is_the_whole(engine):
    whole = pictures(run(engine, "whole.safetensors"))
    parts = run(engine, "flux1-dev.safetensors")
    assert np.abs(pictures(parts) - whole).max() <= 1  # rounding differs with where the file is mapped
    assert [infotext(parts).fields[f"Module {n}"] for n in (1, 2, 3)] == ["ae", "clip_l", "t5xxl_fp16"]
    assert np.abs(pictures(run(engine, "FLUX.1-dev")) - whole).max() <= 1


def test_a_gguf_is_nearly_the_whole(engine):
    whole, packed = (pictures(run(engine, name)) for name in ("whole.safetensors", "flux1-dev-Q8_0.gguf"))
    assert 0 < np.abs(packed - whole).mean() < 0.1 * whole.std()


def test_sd3_reads_t5_where_it_has_it_and_is_told(engine):
    off, without = pictures(run(engine, "sd3_t5.safetensors")), pictures(run(engine, "sd3.safetensors"))
    assert np.array_equal(off, without)
    on = pictures(run(engine, "sd3_t5.safetensors", sd3_enable_t5=True))
    assert np.abs(on - off).max() > 2
    failed = run(engine, "sd3.safetensors", sd3_enable_t5=True)[-1]
    assert isinstance(failed, Failed)
    assert failed.field == "sd3_enable_t5"
    too_large = run(engine, "sd3.safetensors", values={"width": 144})[-1]
    assert isinstance(too_large, Failed)
    assert too_large.message == "width is 144: this model has places for 128 pixels a side. Make it smaller."
