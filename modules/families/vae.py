"""The KL autoencoder (arXiv:2112.10752) of Stable Diffusion, FLUX and others: one architecture whose sizes are read off the tensors."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modules.core.errors import ModelFileError
from modules.families.assembly import empty_weights, filled
from modules.families.ldm_keys import vae_keys, vae_shape
from modules.families.strips import Fitting


def build_vae(tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> nn.Module:
    """diffusers' autoencoder of the shape that the tensors have, under ldm's names or diffusers', in strips where memory is short.

    Raises ModelFileError naming the first tensor that does not fit.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    weights, config = read_vae(tensors)
    with empty_weights():
        bare = AutoencoderKL(**config)
    vae: Any = filled(bare, weights, device, dtype)
    vae.encoder, vae.decoder = Fitting(vae.encoder), Fitting(vae.decoder)
    return vae


def read_vae(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors under diffusers' names, and the arguments of its class; raises ModelFileError."""
    weights = _modern(tensors) if "encoder.conv_norm_out.weight" in tensors else _renamed(tensors)
    if "decoder.conv_in.weight" not in weights:
        raise ModelFileError(
            "The autoencoder lacks the weights decoder.conv_in; the file is damaged or no VAE of this kind. Choose another."
        )
    pattern = re.compile(r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.conv2\.weight$")
    found = {(int(m[1]), int(m[2])): weights[name].shape[0] for name in weights if (m := pattern.match(name))}
    levels, blocks = (1 + max((place[axis] for place in found), default=0) for axis in (0, 1))
    config: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "block_out_channels": tuple(found.get((level, 0), 32) for level in range(levels)),
        "layers_per_block": blocks,
        "latent_channels": weights["decoder.conv_in.weight"].shape[1],
        "use_quant_conv": "quant_conv.weight" in weights,
        "use_post_quant_conv": "post_quant_conv.weight" in weights,
        "mid_block_add_attention": "encoder.mid_block.attentions.0.to_q.weight" in weights,
    }
    return weights, config


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return vae_keys(vae_shape(tensors)).to_module(tensors)


def _modern(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Attention of old diffusers autoencoders (query, key, value, proj_attn) under today's names."""
    old = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    pattern = re.compile(r"(attentions\.0)\.(query|key|value|proj_attn)\.")
    return {pattern.sub(lambda m: f"{m[1]}.{old[m[2]]}.", name): tensor for name, tensor in tensors.items()}
