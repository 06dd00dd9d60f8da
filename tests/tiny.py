"""A tiny Stable Diffusion 1.x of seeded random weights, in the layout of the files people download."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from modules.families.ldm_keys import TEXT, UNET, VAE, UNetShape, VaeShape, text_keys, unet_keys, vae_keys

DEFAULTS = {"width": 64, "height": 64, "steps": 4, "cfg_scale": 3.0, "prompt": "a tiny red star"}


def tiny_parts(seed: int = 0, in_channels: int = 4) -> dict[str, nn.Module]:
    """U-Net, autoencoder and text encoder of a few widths of 32 and 64."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        in_channels=in_channels,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=8,
        cross_attention_dim=64,
    )
    levels: dict[str, Any] = {
        "block_out_channels": (32,) * 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    vae = AutoencoderKL(**levels, layers_per_block=1, latent_channels=4)
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=1
    )
    return {"unet": unet, "vae": vae, "text": CLIPTextModel(config)}


def unet_tensors(unet: Any, named: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """A diffusers U-Net's weights, or those `named`, under CompVis's names (without their prefix)."""
    config = unet.config
    attention = tuple(kind.startswith("Cross") for kind in config.down_block_types)
    shape = UNetShape(levels=len(attention), blocks=config.layers_per_block, attention=attention)
    weights = dict(unet.named_parameters()) if named is None else named
    return unet_keys(shape).to_ldm({name: value.detach() for name, value in weights.items()})


def ldm_tensors(parts: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The tensors under CompVis's names."""
    maps = {
        UNET: (unet_keys(UNetShape(levels=2, blocks=1, attention=(True, False))), parts["unet"]),
        VAE: (vae_keys(VaeShape(levels=4, blocks=1)), parts["vae"]),
        TEXT: (text_keys(), parts["text"]),
    }
    found = {}
    for prefix, (keys, module) in maps.items():
        weights = dict(module.named_parameters())
        found.update({prefix + name: tensor.detach().clone() for name, tensor in keys.to_ldm(weights).items()})
    return found


def write_tiny(
    path: Path,
    seed: int = 0,
    *,
    in_channels: int = 4,
    marks: tuple[str, ...] = (),
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """The whole checkpoint as a safetensors file; `marks` are empty tensors that say something by their names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = ldm_tensors(tiny_parts(seed, in_channels)) | {mark: torch.tensor([]) for mark in marks}
    save_file(tensors, path, metadata={"atelier.defaults": json.dumps(DEFAULTS), **(metadata or {})})
    return path
