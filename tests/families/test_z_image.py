"""Z-Image of random weights, as diffusers' own classes and pipeline have it."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from transformers import Qwen3Config, Qwen3Model

from modules.core.errors import ModelFileError
from modules.families import z_image
from modules.families.source import BACKBONE, text_prefix
from modules.requests.events import Failed
from tests.families.tiny_language import (
    QWEN_CHAT,
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

ORIGINAL = {
    "all_final_layer.2-1.": "final_layer.",
    "all_x_embedder.2-1.": "x_embedder.",
    ".attention.to_out.0.": ".attention.out.",
    ".attention.norm_k.": ".attention.k_norm.",
    ".attention.norm_q.": ".attention.q_norm.",
}


def original(tensors):
    """diffusers' names as the authors' files have them."""
    found = {}
    for name, tensor in tensors.items():
        for ours, theirs in ORIGINAL.items():
            name = name.replace(ours, theirs)
        if name.endswith(".to_q.weight"):
            pair = (tensors[name.replace("to_q", other)] for other in ("to_k", "to_v"))
            found[name.replace("to_q", "qkv")] = torch.cat([tensor, *pair])
        elif not name.endswith((".to_k.weight", ".to_v.weight")):
            found[name] = tensor
    return {**found, "norm_final.weight": torch.ones(256)}


class Tiny:
    """The modules, the file in the authors' names, and the pipeline."""

    def __init__(self, folder) -> None:
        self.network: Any = seeded(
            ZImageTransformer2DModel(dim=256, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=32),
            2,
        )
        config = Qwen3Config(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        )  # fmt: skip
        self.text: Any = seeded(Qwen3Model(config), 3)
        self.vae = kl16()
        self.tokenizer = byte_tokenizer()
        text = {f"model.{name}": value for name, value in named(self.text).items()}
        self.tensors = checkpoint(original(named(self.network)), ldm_vae(self.vae), qwen3_4b=text)
        self.tokenizers = {"qwen3_4b": write_tokenizer(folder, self.tokenizer)}

    def load(self, tensors=None):
        return z_image.load(source(tensors or self.tensors, **self.tokenizers))

    def pipeline(self):
        tokenizer: Any = transformers_tokenizer(self.tokenizer, pad_token="<|endoftext|>", chat_template=QWEN_CHAT)
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
        parts: dict[str, Any] = {"vae": self.vae, "text_encoder": self.text, "transformer": self.network}
        pipeline = ZImagePipeline(scheduler=scheduler, tokenizer=tokenizer, **parts)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("tokenizer"))


def test_it_alone_claims_them(tiny):
    assert claimants(tiny.tensors) == [z_image]
    assert claimants({BACKBONE + name: value for name, value in named(tiny.network).items()}) == [z_image]


@pytest.mark.parametrize("text", [SENTENCE, "", "a (red:1.3) \\(star\\) BREAK ", "long " * 200])
def test_prompts_are_the_pipelines(tiny, text):
    with torch.inference_mode():
        found = tiny.load().prompts.encode([text])
        (wanted,), _ = tiny.pipeline().encode_prompt(text, device="cpu", do_classifier_free_guidance=False)
    assert found.shape[1] == len(wanted) + 1
    assert found[0, -1, -1] == 0
    assert torch.allclose(found[0, :-1, :-1], wanted, atol=1e-5)


@pytest.mark.parametrize("names", ["original", "diffusers"])
def test_the_network_is_diffusers(tiny, names):
    """Texts of unequal length together, a picture whose sides are odd."""
    tensors = tiny.tensors
    if names == "diffusers":
        rest = {name: value for name, value in tensors.items() if not name.startswith(BACKBONE)}
        tensors = {**rest, **{BACKBONE + name: value for name, value in named(tiny.network).items()}}
    model = tiny.load(tensors)
    x = torch.cat([noise(16, 8, 10), noise(16, 8, 10).flip(3)])
    with torch.inference_mode():
        context = model.prompts.encode([SENTENCE, "a star"])
        t = torch.tensor([900.0, 300.0])
        found = model.network(x, t, context)
        rows = [row[row[:, -1] > 0, :-1] for row in context]
        wanted = tiny.network([*x[:, :, None]], 1 - t / 1000, rows).sample
        odd = model.network(x[..., :-1], t, context)
        circular = torch.cat([x[..., :-1], x[..., :1]], dim=3)
        around = tiny.network([*circular[:, :, None]], 1 - t / 1000, rows).sample
    assert torch.allclose(found, -torch.stack([*wanted])[:, :, 0], atol=1e-5)
    assert odd.shape == (2, 16, 8, 9)
    assert torch.allclose(odd, -torch.stack([*around])[:, :, 0, :, :9], atol=1e-5)


def test_a_picture_is_the_pipelines(tiny, tmp_path, monkeypatch):
    run = drawing(monkeypatch, tmp_path, tiny.tensors, tiny.tokenizers)
    found = picture(run(cfg_scale=5, negative_prompt="blurry"))
    wanted = tiny.pipeline()(
        SENTENCE, negative_prompt="blurry", height=64, width=64, num_inference_steps=2, guidance_scale=4.0,
        generator=torch.Generator().manual_seed(SEED), output_type="np",
    ).images[0]  # fmt: skip
    assert np.abs(found - 255 * wanted).max() <= 1.01
    assert wanted.std() > 0.02
    assert picture(run(width=72, height=64, cfg_scale=1)).shape == (64, 72, 3)


def test_what_is_missing_is_named(tiny, tmp_path, monkeypatch):
    for name in ("layers.1.feed_forward.w2.weight", "x_embedder.weight"):
        with pytest.raises(ModelFileError, match="lacks the weights"):
            tiny.load({key: value for key, value in tiny.tensors.items() if key != BACKBONE + name})
    for name in (
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.k_proj.weight",
        "model.layers.1.mlp.up_proj.weight",
    ):
        with pytest.raises(ModelFileError, match="lacks the weights"):
            tiny.load({key: value for key, value in tiny.tensors.items() if key != text_prefix("qwen3_4b") + name})
    with pytest.raises(ModelFileError, match="qwen3_4b has no tokenizer"):
        z_image.load(source(tiny.tensors))
    with pytest.raises(ModelFileError, match="holds no tokenizer of qwen3_4b"):
        z_image.load(source(tiny.tensors, qwen3_4b=tmp_path))
    (tmp_path / "tokenizer.json").write_text("<html>")
    with pytest.raises(ModelFileError, match="cannot be read"):
        z_image.load(source(tiny.tensors, qwen3_4b=tmp_path))
    larger = write_tokenizer(tmp_path / "larger", byte_tokenizer([f"<{i}>" for i in range(90)] + ["<|im_start|>"]))
    run = drawing(monkeypatch, tmp_path / "data", tiny.tensors, {"qwen3_4b": larger})
    failed = run()[-1]
    assert isinstance(failed, Failed)
    assert "not of one model" in failed.message
