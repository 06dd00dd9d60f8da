"""CogView 4 of random weights, as diffusers' own classes and pipeline have it."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, CogView4Pipeline, CogView4Transformer2DModel, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.cogview4.pipeline_cogview4 import calculate_shift
from tokenizers.processors import TemplateProcessing
from transformers import GlmConfig, GlmModel

from modules.core.errors import ModelFileError
from modules.families import cogview4
from modules.families.source import BACKBONE, text_prefix
from tests.families.tiny_language import (
    SEED,
    SENTENCE,
    VOCABULARY,
    byte_tokenizer,
    checkpoint,
    claimants,
    drawing,
    named,
    noise,
    picture,
    seeded,
    source,
    transformers_tokenizer,
    write_tokenizer,
)

MARKS = ("<|endoftext|>", "[gMASK]", "<sop>")


class Exact(FlowMatchEulerDiscreteScheduler):
    """Tells the network times that are not rounded to whole ones."""

    def set_timesteps(self, *arguments: Any, sigmas: Any = None, **options: Any) -> None:
        options["timesteps"] = 1000 * np.asarray(sigmas)
        super().set_timesteps(*arguments, sigmas=sigmas, **options)


class Tiny:
    """The modules, the file that its folder makes, and the pipeline."""

    def __init__(self, folder) -> None:
        self.network: Any = seeded(
            CogView4Transformer2DModel(
                num_layers=2,
                attention_head_dim=128,
                num_attention_heads=2,
                text_embed_dim=64,
                time_embed_dim=32,
                condition_dim=16,
            ),
            2,
        )
        config = GlmConfig(
            vocab_size=VOCABULARY, hidden_size=64, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2,
            num_key_value_heads=1, head_dim=128, pad_token_id=None,
        )  # fmt: skip
        self.text: Any = seeded(GlmModel(config), 3)
        levels: dict[str, Any] = {
            "block_out_channels": (32,) * 4,
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
        }
        self.vae: Any = seeded(
            AutoencoderKL(
                **levels,
                latent_channels=16,
                scaling_factor=1.0,
                use_quant_conv=False,
                use_post_quant_conv=False,
                mid_block_add_attention=False,
            ),
            4,
        )
        self.tokenizer = byte_tokenizer(MARKS)
        text = {f"model.{name}": value for name, value in named(self.text).items()}
        self.tensors = checkpoint(named(self.network), named(self.vae), glm4=text)
        self.tokenizers = {"glm4": write_tokenizer(folder, self.tokenizer)}

    def load(self, tensors=None):
        return cogview4.load(source(tensors or self.tensors, **self.tokenizers))

    def pipeline(self):
        tokenizer: Any = byte_tokenizer(MARKS)
        marks = [(mark, tokenizer.token_to_id(mark)) for mark in MARKS[1:]]
        tokenizer.post_processor = TemplateProcessing(single="[gMASK] <sop> $A", special_tokens=marks)
        tokenizer = transformers_tokenizer(tokenizer, pad_token=MARKS[0], padding_side="left")
        shifts = {"base_shift": 0.25, "max_shift": 0.75, "time_shift_type": "linear"}
        scheduler = Exact(use_dynamic_shifting=True, **shifts)
        parts: dict[str, Any] = {"vae": self.vae, "text_encoder": self.text, "transformer": self.network}
        pipeline = CogView4Pipeline(scheduler=scheduler, tokenizer=tokenizer, **parts)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("tokenizer"))


def test_it_alone_claims_it(tiny):
    assert claimants(tiny.tensors) == [cogview4]
    convolution = {**tiny.tensors, f"{BACKBONE}patch_embed.proj.weight": torch.zeros(8, 16, 2, 2)}
    assert claimants(convolution) == []


@pytest.mark.parametrize("text", [SENTENCE, "", "a (red:1.3) BREAK ", "long " * 300])
def test_prompts_are_the_pipelines(tiny, text):
    with torch.inference_mode():
        found = tiny.load().prompts.encode([text])
        wanted, _ = tiny.pipeline().encode_prompt(text, do_classifier_free_guidance=False, device="cpu")
    assert wanted.shape[1] % 16 == 0
    assert found.shape[1] == wanted.shape[1] + 1
    assert torch.allclose(found[:, :-1, :-1], wanted, atol=1e-4)


def test_the_network_is_diffusers(tiny):
    """Told the time before the shift of the picture's size; texts of unequal length together, and a picture whose sides are odd."""
    model, scheduler = tiny.load(), tiny.pipeline().scheduler
    x = torch.cat([noise(16, 8, 10), noise(16, 8, 10).flip(3)])
    times = torch.tensor([0.9, 0.3])
    sigmas = scheduler.time_shift(calculate_shift(20), 1.0, times)
    with torch.inference_mode():
        context = model.prompts.encode([SENTENCE, "a star"])
        found = model.network(x, 1000 * sigmas, context)
        odd = model.network(x[..., :-1], 1000 * sigmas, context)
        around = torch.cat([x[..., :-1], x[..., :1]], dim=3)
        for ours, theirs in ((found, x), (odd, around)):
            size = torch.tensor([[64.0, 8.0 * ours.shape[3]]])
            for i, row in enumerate(context):
                states = row[row[:, -1] > 0, :-1][None]
                wanted = tiny.network(
                    theirs[i : i + 1], states, 1000 * times[i : i + 1], size, size, torch.zeros(1, 2)
                ).sample
                assert torch.allclose(ours[i], wanted[0, ..., : ours.shape[3]], atol=1e-5)


def test_levels_are_those_of_its_size():
    assert calculate_shift(4096) == cogview4.shift_of(4096) == 3.25


def test_a_picture_is_the_pipelines(tiny, tmp_path, monkeypatch):
    run = drawing(monkeypatch, tmp_path, tiny.tensors, tiny.tokenizers)
    found = picture(run(cfg_scale=4, negative_prompt="blurry"))
    sigma, m = tiny.load().levels.sigmas[499].item(), calculate_shift(16)
    u = sigma / (m - (m - 1) * sigma)
    wanted = tiny.pipeline()(
        SENTENCE, negative_prompt="blurry", height=64, width=64, num_inference_steps=2, guidance_scale=4.0,
        timesteps=[1000, round(1000 * u)], sigmas=[1.0, u], generator=torch.Generator().manual_seed(SEED), output_type="np",
    ).images[0]  # fmt: skip
    assert np.abs(found - 255 * wanted).max() <= 1.01
    assert wanted.std() > 0.02


def test_what_is_missing_is_named(tiny):
    missing = (
        f"{BACKBONE}proj_out.weight",
        f"{BACKBONE}transformer_blocks.1.attn1.to_q.bias",
        f"{text_prefix('glm4')}model.layers.0.mlp.gate_up_proj.weight",
        f"{text_prefix('glm4')}model.layers.1.self_attn.q_proj.bias",
    )
    for name in missing:
        assert name in tiny.tensors
        with pytest.raises(ModelFileError, match="lacks the weights"):
            tiny.load({key: value for key, value in tiny.tensors.items() if key != name})
    with pytest.raises(ModelFileError, match="glm4 has no tokenizer"):
        cogview4.load(source(tiny.tensors))
