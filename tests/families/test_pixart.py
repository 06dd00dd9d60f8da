"""PixArt of random weights, as diffusers' own classes and pipelines have it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
)

from modules.core.errors import ModelFileError
from modules.families import pixart, pixart_alpha
from modules.families.clip_prompts import TextOptions
from modules.families.source import BACKBONE, text_prefix
from tests.families.tiny_language import (
    SEED,
    checkpoint,
    claimants,
    drawing,
    ldm_vae,
    named,
    picture,
    seeded,
    source,
    transformers_tokenizer,
)
from tests.tiny_t5 import t5_tensors, tiny_t5, tiny_tokenizer, write_tokenizer

WIDTH = 144
PROMPT = "A red Star"
ORIGINAL = {
    "pos_embed.proj.": "x_embedder.proj.",
    "adaln_single.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "adaln_single.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "adaln_single.emb.resolution_embedder.linear_1": "csize_embedder.mlp.0",
    "adaln_single.emb.resolution_embedder.linear_2": "csize_embedder.mlp.2",
    "adaln_single.emb.aspect_ratio_embedder.linear_1": "ar_embedder.mlp.0",
    "adaln_single.emb.aspect_ratio_embedder.linear_2": "ar_embedder.mlp.2",
    "adaln_single.linear": "t_block.1",
    "caption_projection.linear_": "y_embedder.y_proj.fc",
    "transformer_blocks.": "blocks.",
    ".attn1.to_out.0.": ".attn.proj.",
    ".attn2.to_out.0.": ".cross_attn.proj.",
    ".attn2.to_q.": ".cross_attn.q_linear.",
    ".ff.net.0.proj.": ".mlp.fc1.",
    ".ff.net.2.": ".mlp.fc2.",
    "proj_out.": "final_layer.linear.",
}


def original(tensors, tokens, size):
    """diffusers' names as the authors' files have them; `size` in pixels."""
    found = {"pos_embed": torch.zeros(1, (size // 16) ** 2, WIDTH), "y_embedder.y_embedding": torch.zeros(tokens, 32)}
    for name, tensor in tensors.items():
        if ".attn1.to_q." in name:
            three = [tensor, *(tensors[name.replace("to_q", other)] for other in ("to_k", "to_v"))]
            name, tensor = name.replace("attn1.to_q", "attn.qkv"), torch.cat(three)
        elif ".attn2.to_k." in name:
            pair = torch.cat([tensor, tensors[name.replace("to_k", "to_v")]])
            name, tensor = name.replace("attn2.to_k", "cross_attn.kv_linear"), pair
        elif ".to_k." in name or ".to_v." in name:
            continue
        for ours, theirs in ORIGINAL.items():
            name = name.replace(ours, theirs)
        found["final_layer.scale_shift_table" if name == "scale_shift_table" else name] = tensor
    return found


def kl4(scale):
    levels: dict[str, Any] = {
        "block_out_channels": (32,) * 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    return seeded(AutoencoderKL(**levels, layers_per_block=1, latent_channels=4, scaling_factor=scale), 1)


class Tiny:
    """The modules, the file in the authors' names, and the pipeline. Alpha of 1024 is told the picture's size."""

    def __init__(self, folder, *, alpha: bool) -> None:
        self.alpha = alpha
        self.network: Any = seeded(
            PixArtTransformer2DModel(
                num_attention_heads=2,
                attention_head_dim=72,
                in_channels=4,
                out_channels=8,
                num_layers=2,
                cross_attention_dim=WIDTH,
                sample_size=128,
                caption_channels=32,
                use_additional_conditions=alpha,
            ),
            2,
        )
        self.text = tiny_t5()
        self.vae = kl4(0.18215 if alpha else 0.13025)
        backbone = original(named(self.network), 120 if alpha else 300, 1024)
        self.tensors = checkpoint(backbone, ldm_vae(self.vae), t5xxl=t5_tensors(self.text))
        self.tokenizers = {"t5xxl": write_tokenizer(folder)}

    @property
    def family(self):
        return pixart_alpha if self.alpha else pixart

    def load(self, tensors=None):
        return self.family.load(source(tensors or self.tensors, **self.tokenizers))

    def pipeline(self):
        tokenizer: Any = transformers_tokenizer(tiny_tokenizer(), pad_token="<pad>", eos_token="</s>")
        scheduler: Any = DDIMScheduler(
            beta_start=0.0001, beta_end=0.02, clip_sample=False, set_alpha_to_one=False, steps_offset=1
        )
        parts: dict[str, Any] = {"vae": self.vae, "text_encoder": self.text, "transformer": self.network}
        kind: Any = PixArtAlphaPipeline if self.alpha else PixArtSigmaPipeline
        pipeline = kind(scheduler=scheduler, tokenizer=tokenizer, **parts)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


@pytest.fixture(scope="module", params=["alpha", "sigma"])
def tiny(request, tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("tokenizer"), alpha=request.param == "alpha")


def test_it_alone_claims_them(tiny):
    assert claimants(tiny.tensors) == [tiny.family]
    assert claimants({BACKBONE + name: value for name, value in named(tiny.network).items()}) == [tiny.family]
    told = {name: value for name, value in tiny.tensors.items() if "csize" not in name and "ar_embedder" not in name}
    assert claimants(told) == [tiny.family]  # alpha of 512 pixels


@pytest.mark.parametrize("text", [PROMPT, "", "a star, a house"])
def test_prompts_are_the_pipelines(tiny, text):
    prompts = tiny.load().prompts
    with torch.inference_mode():
        found = prompts.encode([text])
        states, mask = tiny.pipeline().encode_prompt([text], device="cpu", do_classifier_free_guidance=False)[:2]
    count = int(mask.sum())
    assert torch.allclose(found[0, :count, :-1], states[0, :count], atol=1e-5)
    assert found[0, :, -1].tolist() == [1.0] * count + [0.0] * (found.shape[1] - count)


def test_brackets_weigh(tiny):
    prompts = tiny.load().prompts
    with torch.inference_mode():
        plain, weighed = prompts.encode(["a red star"]), prompts.encode(["a (red:1.5) star"])
        ignored = prompts.encode(["a (red:1.5) star"], TextOptions(emphasis="Ignore"))
    assert not torch.allclose(plain, weighed)
    assert torch.allclose(plain, ignored)


@pytest.mark.parametrize("names", ["original", "diffusers"])
def test_the_network_is_diffusers(tiny, names):
    """Texts of unequal length together, and a picture whose sides are odd."""
    tensors = tiny.tensors
    if names == "diffusers":
        rest = {name: value for name, value in tensors.items() if not name.startswith(BACKBONE)}
        tensors = {**rest, **{BACKBONE + name: value for name, value in named(tiny.network).items()}}
    model = tiny.load(tensors)
    x = torch.randn(2, 4, 8, 10, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([900.5, 300.0])

    def wanted(x, width):
        told = {"resolution": torch.tensor([[64.0, 8.0 * width]] * 2), "aspect_ratio": torch.tensor([[8 / width]] * 2)}
        mask = context[..., -1]
        return tiny.network(x, context[..., :-1], t, told, encoder_attention_mask=mask).sample[:, :4]

    with torch.inference_mode():
        context = model.prompts.encode(["a star", "a red red star"])
        assert torch.allclose(model.network(x, t, context), wanted(x, 10), atol=1e-5)
        odd = torch.cat([x[..., :-1], x[..., :1]], dim=3)
        assert torch.allclose(model.network(x[..., :-1], t, context), wanted(odd, 9)[..., :9], atol=1e-5)
    assert not context[..., -1].all()


def test_the_latents_are_its_own(tiny):
    model = tiny.load()
    assert model.autoencoder.space == (4, 8, 0.18215 if tiny.alpha else 0.13025, 0.0)
    assert tiny.family.autoencoder(source(tiny.tensors).vae, model.compute).space == model.autoencoder.space


def test_alphas_of_diffusers_names_are_known_by_theirs(tiny):
    if tiny.alpha:
        return
    model = pixart.load(replace(source(tiny.tensors, **tiny.tokenizers), name="PixArt-Alpha-512"))
    assert model.family == "pixart-alpha"
    assert model.autoencoder.space[2] == 0.18215


def test_levels_are_ddpms(tiny):
    model, scheduler = tiny.load(), tiny.pipeline().scheduler
    assert torch.allclose(model.levels.alphas_cumprod, scheduler.alphas_cumprod, rtol=1e-4)
    assert model.native_size == 1024


def test_a_picture_is_the_pipelines(tiny, tmp_path, monkeypatch):
    run = drawing(monkeypatch, tmp_path, tiny.tensors, tiny.tokenizers)
    values = {"sampler_name": "DDIM", "scheduler": "Automatic", "negative_prompt": "house", "cfg_scale": 4}
    found = picture(run(prompt=PROMPT, **values))
    pipeline = tiny.pipeline()
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
    extra = {} if tiny.alpha else {"max_sequence_length": 300}
    wanted = pipeline(
        PROMPT, negative_prompt="house", height=64, width=64, num_inference_steps=2, guidance_scale=4.0, latents=latents,
        use_resolution_binning=False, clean_caption=False, output_type="np", **extra,
    ).images[0]  # fmt: skip
    assert np.abs(found - 255 * wanted).max() <= 3  # levels go up to 157 and down to 0.01, in float32
    assert wanted.std() > 0.02


def test_what_is_missing_is_named(tiny):
    missing = (
        f"{BACKBONE}x_embedder.proj.weight",
        f"{BACKBONE}blocks.1.attn.qkv.weight",
        f"{text_prefix('t5xxl')}encoder.block.1.layer.0.SelfAttention.q.weight",
    )
    for name in missing:
        assert name in tiny.tensors
        with pytest.raises(ModelFileError, match="lacks the weights"):
            tiny.load({key: value for key, value in tiny.tensors.items() if key != name})
    with pytest.raises(ModelFileError, match="t5xxl has no tokenizer"):
        tiny.family.load(source(tiny.tensors))
