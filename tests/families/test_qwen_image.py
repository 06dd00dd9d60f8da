"""Qwen-Image and its edit models of random weights, as diffusers' own classes and pipelines have them."""

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from modules.core.errors import ModelFileError
from modules.families import qwen_image
from modules.families.ldm_keys import VAE
from modules.families.source import BACKBONE, text_prefix
from tests.families.tiny_language import (
    COMPUTE,
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

RESNET = {
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
WAN = {
    r"^quant_conv\.": "conv1.",
    r"^post_quant_conv\.": "conv2.",
    r"coder\.conv_in\.": "coder.conv1.",
    r"coder\.norm_out\.": "coder.head.0.",
    r"coder\.conv_out\.": "coder.head.2.",
    r"mid_block\.attentions\.0\.": "middle.1.",
    r"mid_block\.resnets\.0\.": "middle.0.",
    r"mid_block\.resnets\.1\.": "middle.2.",
    r"down_blocks\.": "downsamples.",
}


def wan(tensors):
    """diffusers' names of the autoencoder as Wan's own file has them."""
    found = {}
    for name, tensor in tensors.items():
        for ours, theirs in WAN.items():
            name = re.sub(ours, theirs, name)
        name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)\.", lambda m: f"upsamples.{4 * int(m[1]) + int(m[2])}.", name)
        name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f"upsamples.{4 * int(m[1]) + 3}.", name)
        if "samples." in name or "middle." in name:
            name = re.sub(r"\b(norm1|conv1|norm2|conv2|conv_shortcut)\.", lambda m: RESNET[m[1]] + ".", name)
        found[name] = tensor
    return found


def text_model() -> Any:
    text = {
        "vocab_size": VOCABULARY, "hidden_size": 256, "intermediate_size": 48, "num_hidden_layers": 2, "rms_norm_eps": 1e-6,
        "num_attention_heads": 2, "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    }  # fmt: skip
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 256}
    return seeded(Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)), 3)


class Tiny:
    """The modules, the file as ComfyUI's users have it, and the pipeline."""

    def __init__(self, folder) -> None:
        self.network = self.build()
        self.text = text_model()
        self.vae: Any = seeded(AutoencoderKLQwenImage(base_dim=8, num_res_blocks=2), 4)
        self.tokenizer = byte_tokenizer()
        text = {  # as transformers had it until version 4.52, and ComfyUI's files have it
            name.replace("model.language_model.", "model.").replace("model.visual.", "visual."): value
            for name, value in named(self.text).items()
        }
        self.tensors = checkpoint(named(self.network), wan(named(self.vae)), qwen25_7b=text)
        self.tokenizers = {"qwen25_7b": write_tokenizer(folder, self.tokenizer)}

    @staticmethod
    def build(**options: Any) -> Any:
        sizes = {"num_layers": 2, "num_attention_heads": 1, "attention_head_dim": 128, "joint_attention_dim": 256}
        return seeded(QwenImageTransformer2DModel(**sizes, **options), 2)

    def load(self, tensors=None):
        return qwen_image.load(source(tensors or self.tensors, **self.tokenizers))

    def pipeline(self):
        tokenizer: Any = transformers_tokenizer(self.tokenizer, pad_token="<|endoftext|>")
        scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=1.15, max_shift=1.15)
        parts: dict[str, Any] = {"vae": self.vae, "text_encoder": self.text, "transformer": self.network}
        pipeline = QwenImagePipeline(scheduler=scheduler, tokenizer=tokenizer, **parts)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("tokenizer"))


def packed(x):
    b, c, h, w = x.shape
    return QwenImagePipeline._pack_latents(x, b, c, h, w)


def unpacked(tokens, height, width):
    return QwenImagePipeline._unpack_latents(tokens, 8 * height, 8 * width, 8)[:, :, 0]


def test_it_alone_claims_it(tiny):
    assert claimants(tiny.tensors) == [qwen_image]
    layered = {**tiny.tensors, f"{BACKBONE}time_text_embed.addition_t_embedding.weight": torch.zeros(2, 128)}
    assert claimants(layered) == []


@pytest.mark.parametrize("text", [SENTENCE, "", "a (red:1.3) BREAK ", "long " * 300])
def test_prompts_are_the_pipelines(tiny, text):
    with torch.inference_mode():
        found = tiny.load().prompts.encode([text])
        wanted, mask = tiny.pipeline().encode_prompt(text, device="cpu")
    assert mask is None
    assert found.shape[1] == wanted.shape[1] + 1
    assert torch.allclose(found[:, :-1, :-1], wanted, atol=1e-4)


def test_the_network_is_diffusers(tiny):
    """Texts of unequal length together, and a picture whose sides are odd."""
    model = tiny.load()
    x = torch.cat([noise(16, 8, 10), noise(16, 8, 10).flip(3)])
    t = torch.tensor([900.0, 300.0])
    with torch.inference_mode():
        context = model.prompts.encode([SENTENCE, "a star"])
        found = model.network(x, t, context)
        odd = model.network(x[..., :-1, :], t, context)
        around = torch.cat([x[..., :-1, :], x[..., :1, :]], dim=2)
        for i, row in enumerate(context):
            states = row[row[:, -1] > 0, :-1][None]
            for ours, theirs in ((found, x), (odd, around)):
                wanted = tiny.network(
                    packed(theirs[i : i + 1]), states, None, t[i : i + 1] / 1000, img_shapes=[[(1, 4, 5)]]
                ).sample
                assert torch.allclose(ours[i], unpacked(wanted, 8, 10)[0, :, : ours.shape[2]], atol=1e-5)


@pytest.mark.parametrize("time_zero", [False, True])
def test_references_are_looked_at_as_the_edit_pipeline_does(tiny, time_zero):
    network: Any = tiny.build(zero_cond_t=time_zero)
    tensors = {**tiny.tensors, f"{BACKBONE}{qwen_image.TIME_ZERO}": torch.zeros(0)} if time_zero else tiny.tensors
    model = tiny.load(tensors)
    x, first, second = noise(16), noise(16).flip(2), noise(16, 7, 10)
    whole = torch.cat([second, second[..., :1, :]], dim=2)
    t = torch.tensor([700.0])
    with torch.inference_mode():
        context = model.prompts.encode([SENTENCE])
        told: Any = model.network
        found = told.told(guidance=1.0, references=[first, second])(x, t, context)
        wanted = network(
            torch.cat([packed(x), packed(first), packed(whole)], dim=1),
            context[:, :-1, :-1],
            None,
            t / 1000,
            img_shapes=[[(1, 4, 4), (1, 4, 4), (1, 4, 5)]],
        ).sample[:, :16]
        alone = model.network(x, t, context)
    assert torch.allclose(found, unpacked(wanted, 8, 8), atol=1e-5)
    assert not torch.allclose(found, alone, atol=1e-3)


@pytest.mark.parametrize("names", ["wan", "diffusers"])
def test_the_autoencoder_is_diffusers(tiny, names):
    tensors = {name.removeprefix(VAE): value for name, value in tiny.tensors.items() if name.startswith(VAE)}
    vae = qwen_image.autoencoder(tensors if names == "wan" else named(tiny.vae), COMPUTE)
    assert (vae.channels, vae.downscale) == (16, 8)
    mean, deviation = (
        torch.tensor(getattr(tiny.vae.config, f"latents_{n}")).view(1, 16, 1, 1) for n in ("mean", "std")
    )
    latents = noise(16).repeat(2, 1, 1, 1)
    with torch.inference_mode():
        decoded = vae.decode(latents)
        wanted = tiny.vae.decode((latents * deviation + mean)[:, :, None]).sample[:, :, 0]
        encoded = vae.encode(decoded, torch.zeros(2, 16, 8, 8))
        again = tiny.vae.encode(decoded[:, :, None] * 2 - 1).latent_dist.mean[:, :, 0]
    assert torch.allclose(decoded, (wanted / 2 + 0.5).clamp(0, 1), atol=1e-5)
    assert torch.allclose(encoded, (again - mean) / deviation, atol=1e-4)


def test_a_picture_is_the_pipelines(tiny, tmp_path, monkeypatch):
    run = drawing(monkeypatch, tmp_path, tiny.tensors, tiny.tokenizers)
    found = picture(run(cfg_scale=1))
    pipeline = tiny.pipeline()
    wanted = pipeline(
        SENTENCE, height=64, width=64, num_inference_steps=2, true_cfg_scale=1.0, output_type="np",
        latents=packed(noise(16)),
    ).images[0]  # fmt: skip
    assert np.abs(found - 255 * wanted).max() <= 1.01
    assert wanted.std() > 0.02
    assert math.isclose(pipeline.scheduler.sigmas[1], tiny.load().levels.sigmas[499].item(), rel_tol=1e-5)
    assert not np.array_equal(picture(run(cfg_scale=4, negative_prompt="blurry")), found)


def test_what_is_missing_is_named(tiny):
    missing = (
        f"{BACKBONE}proj_out.weight",
        f"{BACKBONE}transformer_blocks.1.img_mod.1.bias",
        f"{VAE}decoder.conv1.weight",
        f"{VAE}decoder.upsamples.4.residual.2.weight",
        f"{text_prefix('qwen25_7b')}model.layers.1.self_attn.q_proj.bias",
    )
    for name in missing:
        assert name in tiny.tensors
        with pytest.raises(ModelFileError, match="lacks the weights"):
            tiny.load({key: value for key, value in tiny.tensors.items() if key != name})
    with pytest.raises(ModelFileError, match="qwen25_7b has no tokenizer"):
        qwen_image.load(source(tiny.tensors))
