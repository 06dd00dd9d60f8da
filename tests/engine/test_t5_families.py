"""Stable Diffusion 3, FLUX.1, Chroma and AuraFlow from a file to the picture: that of diffusers' own pipelines, where there is one."""

from typing import Any

import numpy as np
import pytest
import torch

from modules.families.source import BACKBONE
from modules.requests.events import Failed, ImageReady
from tests.families import test_flux, test_sd3
from tests.families.tiny_language import SEED, drawing, picture
from tests.tiny_flux import flux_parts, original, tiny_chroma, tiny_flux
from tests.tiny_modern import behind, tensors_of
from tests.tiny_sd3 import aura_original, aura_parts, sd3_named, sd3_original, sd3_parts, tiny_aura, tiny_sd3
from tests.tiny_t5 import write_tokenizer

SENTENCE = "a red star"


def checkpoint(family):
    """A whole checkpoint's tensors."""
    if family == "sd3":
        return {**behind(BACKBONE, sd3_original(sd3_named(tiny_sd3()))), **sd3_parts()}
    if family == "aura":
        return {**behind(BACKBONE, aura_original(tensors_of(tiny_aura()))), **aura_parts()}
    network = tiny_flux() if family == "flux" else tiny_chroma()
    return {**behind(BACKBONE, original(tensors_of(network))), **flux_parts()}


@pytest.fixture
def draw(monkeypatch, tmp_path):
    def over(family):
        folder = write_tokenizer(tmp_path / "tokenizer")
        run = drawing(monkeypatch, tmp_path, checkpoint(family), {"t5xxl": folder, "pile_t5xl": folder})
        return lambda **values: run(**{"prompt": SENTENCE, "cfg_scale": 1.0, **values})

    return over


def fields(events):
    return next(event.infotext for event in events if isinstance(event, ImageReady))


def shifted(shift, steps=2):
    """The levels of the schedule Simple."""
    t = torch.tensor([(1000 - i * (1000 // steps)) / 1000 for i in range(steps)])
    return (shift * t / (1 + (shift - 1) * t)).tolist()


@torch.inference_mode()
def test_flux_is_the_pipelines(draw):
    run = draw("flux")
    events = run(distilled_cfg_scale=2.0)
    pipeline: Any = test_flux.pipeline(tiny_flux())
    noise = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(SEED))
    wanted = pipeline(
        SENTENCE,
        height=64,
        width=64,
        sigmas=shifted(float(np.exp(1.15))),
        guidance_scale=2.0,
        latents=pipeline._pack_latents(noise, 1, 16, 8, 8),
        max_sequence_length=256,
        output_type="np",
    ).images[0]
    assert np.abs(picture(events) - 255 * wanted).max() <= 1.01
    assert wanted.std() > 0.02
    assert "CFG scale: 1.0, Distilled CFG Scale: 2.0, Seed" in fields(events)
    assert np.abs(picture(run()) - picture(events)).max() > 2
    assert picture(run(width=72)).shape == (64, 72, 3)


@torch.inference_mode()
def test_sd3_is_the_pipelines(draw):
    run = draw("sd3")
    pipeline: Any = test_sd3.pipeline(tiny_sd3())
    embeds, negative, pooled, negative_pooled = pipeline.encode_prompt(
        SENTENCE, SENTENCE, SENTENCE, negative_prompt="house", max_sequence_length=77
    )
    options: dict[str, Any] = {"height": 64, "width": 64, "guidance_scale": 4.0, "output_type": "np"}
    for t5 in (True, False):
        if not t5:
            embeds[:, 77:], negative[:, 77:] = 0, 0
        found = picture(run(cfg_scale=4, negative_prompt="house", options={"sd3_enable_t5": t5}))
        wanted = pipeline(
            prompt_embeds=embeds,
            negative_prompt_embeds=negative,
            pooled_prompt_embeds=pooled,
            negative_pooled_prompt_embeds=negative_pooled,
            sigmas=shifted(3.0),
            latents=torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(SEED)),
            **options,
        ).images[0]
        assert np.abs(found - 255 * wanted).max() <= 1.01
    assert "Distilled" not in fields(run())


@pytest.mark.parametrize(("family", "channels"), [("fill", 384), ("depth", 128)])
def test_flux_models_of_more_channels_draw_from_text(monkeypatch, tmp_path, family, channels):
    tensors = {**behind(BACKBONE, original(tensors_of(tiny_flux(in_channels=channels)))), **flux_parts()}
    folder = write_tokenizer(tmp_path / "tokenizer")
    run = drawing(monkeypatch, tmp_path, tensors, {"t5xxl": folder})
    drawn = run(cfg_scale=1, batch_size=2)
    assert sum(isinstance(event, ImageReady) for event in drawn) == 2
    assert ("Conditional mask weight" in fields(drawn)) == (family == "fill")


@pytest.mark.parametrize("family", ["chroma", "aura"])
def test_others_are_drawn(draw, family):
    run = draw(family)
    guided = picture(run(cfg_scale=4, negative_prompt="house house house", sampler_name="Euler a"))
    assert guided.shape == (64, 64, 3)
    assert guided.std() > 2
    assert np.abs(guided - picture(run(cfg_scale=4, sampler_name="Euler a"))).max() > 2
    assert picture(run(height=72, prompt="a [star:house:0.5] AND (red:1.2) BREAK house")).shape == (72, 64, 3)


@pytest.mark.parametrize("family", ["flux", "chroma", "sd3", "aura"])
def test_first_block_cache(draw, family):
    run = draw(family)
    values = {"cfg_scale": 4, "steps": 4, "negative_prompt": "house"}
    plain = run(**values)
    always = run(**values, first_block_cache={"threshold": 1.0})
    assert np.abs(picture(always) - picture(plain)).max() > 0
    assert np.array_equal(picture(run(**values, first_block_cache={"threshold": 0})), picture(plain))
    assert np.array_equal(picture(run(**values)), picture(plain))
    assert "fbcache_enabled: True, fbcache_threshold: 1.0" in fields(always)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("freeu", {"freeu": {}}),
        ("deep_cache", {"deep_cache": {}}),
        ("self_attention_guidance", {"self_attention_guidance": {}}),
        ("perturbed_attention_guidance", {"perturbed_attention_guidance": {}}),
        ("tiling", {"tiling": True}),
        ("token_merging_ratio", {"options": {"token_merging_ratio": 0.5}}),
    ],
)
def test_what_changes_a_unet_is_refused(draw, field, values):
    failed = draw("chroma")(**values)[-1]
    assert isinstance(failed, Failed)
    assert failed.field == field
    assert (
        f'{field} changes the U-Nets of Stable Diffusion 1.x, 2.x and XL; "tiny" is of the family chroma'
        in failed.message
    )
