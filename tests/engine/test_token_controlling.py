"""ControlNet units in whole jobs on tiny transformers: what they change, what they leave alone, and what diffusers' pipelines draw."""

import base64
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from modules.api.bodies import Txt2ImgBody
from modules.requests.events import Failed, ImageReady, Warned
from tests.control.test_token_controlnets import parts
from tests.engine.test_controlling import LEFT, noise, picture_of, pixels, same
from tests.engine.test_t5_families import checkpoint, shifted
from tests.families import test_flux, test_z_image
from tests.families.tiny_language import SEED, SENTENCE, drawing
from tests.tiny_flux import tiny_flux
from tests.tiny_modern import tensors_of
from tests.tiny_t5 import write_tokenizer
from tests.tiny_token_control import flux_control, lively_qwen, z_image_control

FAMILIES = ("sd3", "flux", "qwen-image", "z-image")
RANDOM = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
UNIT: dict[str, Any] = {"model": "control", "image": picture_of(RANDOM), "weight": 0.7}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def run(family, tmp_path_factory):
    return engine_of(family, tmp_path_factory)


def engine_of(family, tmp_path_factory):
    """A function that draws with a checkpoint of that family."""
    folder, tokenizers = tmp_path_factory.mktemp(family), tmp_path_factory.mktemp("tokenizers")
    if family in ("sd3", "flux"):
        tensors, readers = checkpoint(family), {"t5xxl": write_tokenizer(tokenizers / "t5xxl")}
    else:
        tiny = (lively_qwen if family == "qwen-image" else test_z_image.Tiny)(tokenizers / "text")
        tensors, readers = tiny.tensors, tiny.tokenizers
    place = folder / "models" / "ControlNet"
    place.mkdir(parents=True)
    save_file(parts(family), place / "control.safetensors")
    other = "flux" if family != "flux" else "sd3"
    save_file(parts(other), place / "other.safetensors")
    (place / "xlabs").mkdir()
    save_file(tensors_of(flux_control(xlabs=True)), place / "xlabs" / "diffusion_pytorch_model.safetensors")
    save_file(tensors_of(flux_control(modes=7)), place / "union.safetensors")
    save_file(tensors_of(z_image_control("2.1")), place / "z2.safetensors")
    return drawing(None, folder, tensors, readers)


def drawn(run, *units, **values):
    events = run(control=units, **{"cfg_scale": 4.0, **values})
    assert not [event for event in events if isinstance(event, Failed)], events[-1]
    return [pixels(event) for event in events if isinstance(event, ImageReady)]


def test_units_change_the_picture_and_nothing_is_left_behind(run):
    plain, one = drawn(run)[0], drawn(run, UNIT)[0]
    assert not same(one, plain)
    for off in ({"weight": 0}, {"enabled": False}, {"guidance_start": 0.99}):
        assert same(drawn(run, {**UNIT, **off})[0], plain)
    ways = ({}, {"control_mode": 2}, {"weight": 0.3}, {"effective_region_mask": picture_of(LEFT)})
    shown = [drawn(run, {**UNIT, **way})[0] for way in ways] + [drawn(run, {**UNIT, "image": noise(2)})[0]]
    shown.append(drawn(run, UNIT, {**UNIT, "image": noise(2)})[0])
    assert all(not same(a, b) for i, a in enumerate((plain, *shown)) for b in shown[:i] if a is not b)
    assert same(drawn(run, {**UNIT, "low_vram": True})[0], one)
    assert same(drawn(run)[0], plain)


def test_each_picture_of_a_batch_is_its_own_and_hires_has_turns(run):
    unit = {**UNIT, "input_mode": "batch", "images": (UNIT["image"], noise(2))}
    first, second = drawn(run, unit, batch_size=2)
    assert np.abs(first - drawn(run, UNIT)[0]).max() <= 2  # a batch of two adds up in another order
    assert np.abs(drawn(run, unit, n_iter=2)[1] - second).max() <= 2
    hires = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.4}
    both, low, none = (drawn(run, *units, **hires)[0] for units in ([UNIT], [{**UNIT, "hr_option": 1}], []))
    assert not same(both, low) and not same(low, none)


def test_what_has_no_meaning_is_said_and_what_does_not_fit_is_refused(run, family):
    events = run(control=({**UNIT, "control_mode": 1},))
    (said,) = [event.message for event in events if isinstance(event, Warned)]
    assert 'control.0.control_mode is "My prompt is more important", which softens' in said
    assert 'drawn as "Balanced"' in said
    assert same(pixels(next(e for e in events if isinstance(e, ImageReady))), drawn(run, UNIT, cfg_scale=7)[0])
    failed = run(control=({**UNIT, "model": "other"},))[-1]
    assert isinstance(failed, Failed) and "a ControlNet for transformers for" in failed.message


@pytest.fixture(scope="module")
def flux(tmp_path_factory):
    return engine_of("flux", tmp_path_factory)


def test_unions_of_flux_are_told_by_the_user_or_the_preprocessor(flux):
    unit = {**UNIT, "model": "union"}
    failed = flux(control=(unit,))[-1]
    assert isinstance(failed, Failed) and "control.0.union_control_type is Unknown" in failed.message
    canny, depth = (drawn(flux, {**unit, "union_control_type": kind})[0] for kind in ("Hard Edge", "Depth"))
    assert not same(canny, depth)
    made = {**unit, "module": "canny", "processor_res": 64}
    assert same(drawn(flux, made)[0], drawn(flux, {**made, "union_control_type": "Hard Edge"})[0])


def test_over_the_api(flux):
    sent = Txt2ImgBody.model_validate(
        {
            "prompt": SENTENCE,
            "alwayson_scripts": {
                "ControlNet": {"args": [{"model": "control", "image": base64.b64encode(UNIT["image"].data).decode()}]}
            },
        }
    ).to_request()
    assert not same(drawn(flux, *sent.control)[0], drawn(flux)[0])


@pytest.mark.parametrize("model", ["control", "xlabs"])
def test_of_flux_a_picture_is_the_pipelines(flux, monkeypatch, model):
    from diffusers.pipelines.flux import pipeline_flux_controlnet as source

    own = test_flux.pipeline(tiny_flux())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        pipeline: Any = source.FluxControlNetPipeline(
            **{
                **own.components,
                "image_encoder": None,
                "feature_extractor": None,
                "controlnet": flux_control(xlabs=model == "xlabs"),
            }
        )
    pipeline.set_progress_bar_config(disable=True)
    monkeypatch.setattr(source, "retrieve_latents", lambda found, **_: found.latent_dist.mode())
    wanted = pipeline(
        SENTENCE,
        height=64,
        width=64,
        sigmas=shifted(float(np.exp(1.15))),
        guidance_scale=2.0,
        control_image=Image.fromarray(RANDOM),
        controlnet_conditioning_scale=0.7,
        latents=source.FluxControlNetPipeline._pack_latents(
            torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(SEED)), 1, 16, 8, 8
        ),
        max_sequence_length=256,
        output_type="np",
    ).images[0]
    found = drawn(flux, {**UNIT, "model": model}, cfg_scale=1.0, distilled_cfg_scale=2.0)[0]
    plain = drawn(flux, cfg_scale=1.0, distilled_cfg_scale=2.0)[0]
    assert np.abs(found - 255 * wanted).max() <= 2
    assert np.abs(found - plain).max() > 10


@pytest.mark.parametrize("model", ["control", "z2"])
def test_of_z_image_a_picture_is_the_pipelines(tmp_path_factory, model):
    from diffusers import ZImageControlNetPipeline

    run = engine_of("z-image", tmp_path_factory)
    tiny = test_z_image.Tiny(tmp_path_factory.mktemp("pipeline"))
    network = z_image_control("1" if model == "control" else "2.1")
    pipeline: Any = ZImageControlNetPipeline(**tiny.pipeline().components, controlnet=network)
    pipeline.set_progress_bar_config(disable=True)
    wanted = pipeline(
        SENTENCE, negative_prompt="blurry", height=64, width=64, num_inference_steps=2, guidance_scale=4.0,
        generator=torch.Generator().manual_seed(SEED), output_type="np", control_image=Image.fromarray(RANDOM),
        controlnet_conditioning_scale=0.7,
    ).images[0]  # fmt: skip
    values = {"cfg_scale": 5.0, "negative_prompt": "blurry"}
    found = drawn(run, {**UNIT, "model": model}, **values)[0]
    assert np.abs(found - 255 * wanted).max() <= 2
    assert np.abs(found - drawn(run, **values)[0]).max() > 20
