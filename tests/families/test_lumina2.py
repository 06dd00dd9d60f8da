"""Lumina 2 of random weights, as diffusers' own classes and pipeline have it."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Lumina2Pipeline, Lumina2Transformer2DModel
from transformers import Gemma2Config, Gemma2Model

from modules.core.errors import ModelFileError
from modules.families import lumina2
from modules.families.clip_prompts import TextOptions
from modules.families.source import BACKBONE, text_prefix
from tests.families.tiny_language import (
    SEED,
    SENTENCE,
    VOCABULARY,
    byte_tokenizer,
    checkpoint,
    claimants,
    drawing,
    kl16,
    ldm_vae,
    named,
    noise,
    picture,
    seeded,
    source,
    transformers_tokenizer,
    write_tokenizer,
)

WIDTH = 192
ORIGINAL = {
    "time_caption_embed.caption_embedder": "cap_embedder",
    "time_caption_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_caption_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "norm_out.linear_1": "final_layer.adaLN_modulation.1",
    "norm_out.linear_2": "final_layer.linear",
    ".norm1.linear": ".adaLN_modulation.1",
    ".ffn_norm": ".ffn~norm",
    ".norm1.norm.": ".attention_norm1.",
    ".norm1.": ".attention_norm1.",
    ".norm2.": ".attention_norm2.",
    ".ffn~norm": ".ffn_norm",
    ".attn.to_out.0": ".attention.out",
    ".attn.norm_q": ".attention.q_norm",
    ".attn.norm_k": ".attention.k_norm",
    ".linear_1": ".w1",
    ".linear_2": ".w2",
    ".linear_3": ".w3",
}


def original(tensors):
    """diffusers' names as the authors' files have them."""
    found = {}
    for name, tensor in tensors.items():
        for ours, theirs in ORIGINAL.items():
            name = name.replace(ours, theirs)
        if name.endswith(".attn.to_q.weight"):
            pair = (tensors[name.replace("to_q", other)] for other in ("to_k", "to_v"))
            found[name.replace("attn.to_q", "attention.qkv")] = torch.cat([tensor, *pair])
        elif not name.endswith((".to_k.weight", ".to_v.weight")):
            found[name] = tensor
    return {**found, "norm_final.weight": torch.ones(WIDTH)}


class Tiny:
    """The modules, the file in the authors' names, and the pipeline."""

    def __init__(self, folder) -> None:
        self.network: Any = seeded(
            Lumina2Transformer2DModel(
                hidden_size=WIDTH,
                num_layers=2,
                num_refiner_layers=2,
                num_attention_heads=2,
                num_kv_heads=1,
                cap_feat_dim=32,
            ),
            2,
        )
        config = Gemma2Config(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2,
            num_key_value_heads=1, head_dim=256,
        )  # fmt: skip
        self.text: Any = seeded(Gemma2Model(config), 3)
        self.vae = kl16()
        self.tokenizer = byte_tokenizer(("<bos>", "<pad>"))
        text = {f"model.{name}": value for name, value in named(self.text).items()}
        self.tensors = checkpoint(original(named(self.network)), ldm_vae(self.vae), gemma2_2b=text)
        self.tokenizers = {"gemma2_2b": write_tokenizer(folder, self.tokenizer)}

    def load(self, tensors=None):
        return lumina2.load(source(tensors or self.tensors, **self.tokenizers))

    def pipeline(self):
        from tokenizers.processors import TemplateProcessing

        tokenizer: Any = byte_tokenizer(("<bos>", "<pad>"))
        marks = [("<bos>", tokenizer.token_to_id("<bos>"))]
        tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=marks)
        tokenizer = transformers_tokenizer(tokenizer, pad_token="<pad>", bos_token="<bos>")
        scheduler = FlowMatchEulerDiscreteScheduler(shift=6.0)
        parts: dict[str, Any] = {"vae": self.vae, "text_encoder": self.text, "transformer": self.network}
        pipeline = Lumina2Pipeline(scheduler=scheduler, tokenizer=tokenizer, **parts)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("tokenizer"))


def test_it_alone_claims_them(tiny):
    assert claimants(tiny.tensors) == [lumina2]
    assert claimants({BACKBONE + name: value for name, value in named(tiny.network).items()}) == [lumina2]
    assert claimants({**tiny.tensors, f"{BACKBONE}clip_text_pooled_proj.0.weight": torch.zeros(8)}) == []


@pytest.mark.parametrize("text", [SENTENCE, "", "a (red:1.3) BREAK ", "long " * 100])
def test_prompts_are_the_pipelines(tiny, text):
    prompts = tiny.load().prompts
    with torch.inference_mode():
        found, negative = prompts.encode([text]), prompts.encode([text], TextOptions(negative=True))
        wanted = tiny.pipeline().encode_prompt([text], negative_prompt=[text], device="cpu")
    for ours, states, mask in ((found, *wanted[:2]), (negative, *wanted[2:])):
        states = states[0][mask[0].bool()]
        assert ours.shape[1] == len(states) + 1
        assert torch.allclose(ours[0, :-1, :-1], states, atol=1e-4)


@pytest.mark.parametrize("names", ["original", "diffusers"])
def test_the_network_is_diffusers(tiny, names):
    """Texts of unequal length together, and a picture whose sides are odd."""
    tensors = tiny.tensors
    if names == "diffusers":
        rest = {name: value for name, value in tensors.items() if not name.startswith(BACKBONE)}
        tensors = {**rest, **{BACKBONE + name: value for name, value in named(tiny.network).items()}}
    model = tiny.load(tensors)
    x = torch.cat([noise(16, 8, 10), noise(16, 8, 10).flip(3)])
    t = torch.tensor([900.0, 300.0])
    with torch.inference_mode():
        context = model.prompts.encode(["a star", "a small star"])
        found = model.network(x, t, context)
        mask = context[:, :-1, -1].bool()
        wanted = tiny.network(x, 1 - t / 1000, context[:, :-1, :-1], mask).sample
        odd = model.network(x[..., :-1], t, context)
        around = tiny.network(
            torch.cat([x[..., :-1], x[..., :1]], dim=3), 1 - t / 1000, context[:, :-1, :-1], mask
        ).sample
    assert not mask.all()
    assert torch.allclose(found, -wanted, atol=1e-5)
    assert torch.allclose(odd, -around[..., :9], atol=1e-5)


def test_a_picture_is_the_pipelines(tiny, tmp_path, monkeypatch):
    run = drawing(monkeypatch, tmp_path, tiny.tensors, tiny.tokenizers)
    found = picture(run(cfg_scale=4, negative_prompt="blurry"))
    wanted = tiny.pipeline()(
        SENTENCE, negative_prompt="blurry", height=64, width=64, num_inference_steps=2, guidance_scale=4.0,
        cfg_normalization=False, generator=torch.Generator().manual_seed(SEED), output_type="np",
    ).images[0]  # fmt: skip
    assert np.abs(found - 255 * wanted).max() <= 1.01
    assert wanted.std() > 0.02


def test_what_is_missing_is_named(tiny):
    missing = (
        f"{BACKBONE}x_embedder.weight",
        f"{BACKBONE}layers.1.attention.qkv.weight",
        f"{text_prefix('gemma2_2b')}model.layers.1.pre_feedforward_layernorm.weight",
    )
    for name in missing:
        assert name in tiny.tensors
        with pytest.raises(ModelFileError, match="lacks the weights"):
            tiny.load({key: value for key, value in tiny.tensors.items() if key != name})
    with pytest.raises(ModelFileError, match="gemma2_2b has no tokenizer"):
        lumina2.load(source(tiny.tensors))
