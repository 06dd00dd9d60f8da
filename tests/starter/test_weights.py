"""The bundled weights: whole, small, named as Stable Diffusion 1.x, and drawing what they are told."""

import json

import pytest
import torch

from modules.devices.choice import choose_compute
from modules.families import sd1
from modules.families.source import Source
from modules.families.weights import read_weights
from modules.library.header import read_header
from modules.starter.evaluate import CHECKPOINT, READER, draw_prompts, prompts_for, table, verdicts
from modules.starter.export import DEFAULTS, fold
from modules.starter.judge import means
from modules.starter.parts import LATENT_SCALE, make_autoencoder
from modules.starter.reader import load_reader


@pytest.fixture(scope="module")
def model():
    tensors = read_weights(CHECKPOINT)
    return sd1.load(Source(tensors=tensors, name="starter", native_size=128, compute=choose_compute(use_cpu=True)))


def test_sizes_of_the_files():
    assert CHECKPOINT.stat().st_size <= 40_000_000
    assert READER.stat().st_size <= 3_000_000


def test_header_says_what_it_is():
    header = read_header(CHECKPOINT)
    assert sd1.detect(header.shapes)
    assert header.metadata["modelspec.architecture"] == "stable-diffusion-v1"
    assert header.metadata["modelspec.resolution"] == "128x128"
    assert json.loads(header.metadata["atelier.defaults"]) == DEFAULTS


def test_names_and_shapes_are_those_of_sd1():
    shapes = read_header(CHECKPOINT).shapes
    assert shapes["cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"] == (49408, 128)
    assert shapes["cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"] == (77, 128)
    assert len(shapes["model.diffusion_model.input_blocks.1.1.proj_in.weight"]) == 4
    assert len(shapes["first_stage_model.decoder.mid.attn_1.q.weight"]) == 4
    assert shapes["first_stage_model.quant_conv.weight"] == (8, 8, 1, 1)


def test_every_weight_is_finite_half_precision():
    for name, tensor in read_weights(CHECKPOINT).items():
        assert tensor.dtype == torch.float16, name
        assert torch.isfinite(tensor).all(), name


def test_folding_normalises_the_latents_and_keeps_the_pictures():
    torch.manual_seed(0)
    model = make_autoencoder().requires_grad_(False).eval()
    pixels = torch.rand(4, 3, 64, 64) * 2 - 1
    raw = model.quant_conv(model.encoder(pixels))[:, :4]
    before = model.decoder(model.post_quant_conv(raw))
    fold(model, raw.mean((0, 2, 3)), raw.std((0, 2, 3)))
    latents = model.quant_conv(model.encoder(pixels))[:, :4]
    scaled = latents * LATENT_SCALE
    assert torch.allclose(scaled.mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(scaled.std((0, 2, 3)), torch.ones(4), atol=1e-3)
    assert torch.allclose(model.decoder(model.post_quant_conv(latents)), before, atol=1e-3)


@pytest.mark.starter
def test_it_draws_what_training_never_saw(model):
    scenes, prompts = prompts_for(24, seed=77)
    pixels = draw_prompts(model, prompts, steps=20, scale=DEFAULTS["cfg_scale"], seed=1, batch=24)
    score = means(verdicts(load_reader(READER), scenes, pixels))
    assert min(score["kind"], score["colour"], score["place"], score["style"]) >= 0.85, table({"drawn": score})
    assert score["related"] >= 0.7, table({"drawn": score})
