"""SDXL at its real size, of seeded random weights: what diffusers' and transformers' own modules answer is what the file's model answers.

About 14 GB of disk and 13 GB of memory; one side after the other. By hand: `ATELIER_REAL_WIDTHS=1 pytest -m parity tests/parity/test_real_widths.py`.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from modules.devices.choice import choose_compute
from modules.families import sdxl
from modules.families.kinds import family_of
from modules.families.ldm_keys import UNET, VAE, VaeShape, vae_keys
from modules.families.open_clip_keys import to_open_clip
from modules.families.source import Source
from modules.families.weights import read_weights
from tests.families.test_sdxl import ids, parameters
from tests.tiny import unet_tensors

SENTENCE = "a red fox in the snow"
POOLED, CONTEXT = 1280, 2048

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif("ATELIER_REAL_WIDTHS" not in os.environ, reason="ATELIER_REAL_WIDTHS is not set"),
    pytest.mark.timeout(3000),
]


def big_g() -> tuple[dict[str, Any], dict[str, Any]]:
    """OpenCLIP bigG: its tensors in a file, and its answers."""
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20,
        hidden_act="gelu", projection_dim=POOLED, eos_token_id=49407,
    )  # fmt: skip
    module = CLIPTextModelWithProjection(config).eval()
    out = module(ids(0), output_hidden_states=True)
    text = parameters(module)
    tensors = {**to_open_clip(text), "text_projection": text["text_projection.weight"].T.contiguous()}
    return {sdxl.BIG_G + n: v for n, v in tensors.items()}, {"states": out.hidden_states[-2], "pooled": out.text_embeds}


def clip_l() -> tuple[dict[str, Any], dict[str, Any]]:
    """CLIP L."""
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    module = CLIPTextModel(config).eval()
    out = module(ids(49407), output_hidden_states=True)
    return {sdxl.CLIP_L + n: v for n, v in parameters(module).items()}, {"states": out.hidden_states[-2]}


def autoencoder() -> tuple[dict[str, Any], dict[str, Any]]:
    """The autoencoder, which is SD 1's."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    levels: Any = {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    module: Any = AutoencoderKL(**levels, layers_per_block=2, latent_channels=4).eval()
    z = torch.randn(1, 4, 16, 12, generator=torch.Generator().manual_seed(2))
    tensors = vae_keys(VaeShape(levels=4, blocks=2)).to_ldm(parameters(module))
    return {VAE + n: v for n, v in tensors.items()}, {"z": z, "pixels": module.decode(z / sdxl.LATENT_SCALE).sample}


def unet() -> tuple[dict[str, Any], dict[str, Any]]:
    """The base's U-Net of 2.6 billion parameters."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    levels: Any = {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
    }
    module: Any = UNet2DConditionModel(
        **levels,
        layers_per_block=2,
        cross_attention_dim=CONTEXT,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=POOLED + 6 * 256,
    ).eval()
    generator = torch.Generator().manual_seed(3)
    x, context = torch.randn(1, 4, 16, 12, generator=generator), torch.randn(1, 77, CONTEXT, generator=generator)
    told, t = torch.randn(1, POOLED, generator=generator), torch.tensor([421.0])
    sizes = torch.tensor([[128, 96, 0, 0, 128, 96]])
    added = {"text_embeds": told, "time_ids": sizes}
    eps = module(x, t, context, added_cond_kwargs=added).sample
    renamed = {n.replace("add_embedding.", "class_embedding."): v.detach() for n, v in module.named_parameters()}
    packed = torch.cat([context, told[:, None].expand(-1, 77, -1)], dim=2)
    return {UNET + n: v for n, v in unet_tensors(module, renamed).items()}, {
        "x": x,
        "t": t,
        "context": packed,
        "eps": eps,
    }


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@torch.inference_mode()
def test_sdxl(tmp_path, capsys):
    torch.manual_seed(1)
    answers = {}
    for name, make in {"text": big_g, "clip": clip_l, "vae": autoencoder, "unet": unet}.items():
        tensors, answers[name] = make()
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, tmp_path / f"{name}.safetensors")
        del tensors
    files = [Path(tmp_path, f"{name}.safetensors") for name in answers]
    tensors = {key: tensor for file in files for key, tensor in read_weights(file).items()}
    assert family_of({key: tuple(tensor.shape) for key, tensor in tensors.items()}) is sdxl
    model = sdxl.load(Source(tensors=tensors, name="xl", compute=choose_compute(use_cpu=True)))
    context, u = model.prompts.encode([SENTENCE]), answers["unet"]
    errors = {
        "CLIP L": relative(context[..., :768], answers["clip"]["states"]),
        "bigG": relative(context[..., 768:CONTEXT], answers["text"]["states"]),
        "pooled": relative(context[:, 0, CONTEXT:], answers["text"]["pooled"]),
        "U-Net": relative(model.network(u["x"], u["t"], u["context"]), u["eps"]),
        "autoencoder": relative(model.decode(answers["vae"]["z"]), answers["vae"]["pixels"].add(1).div(2).clamp(0, 1)),
    }
    with capsys.disabled():
        print({name: f"{error:.1e}" for name, error in errors.items()}, sum(t.numel() for t in tensors.values()))
    assert max(errors.values()) < 1e-3
