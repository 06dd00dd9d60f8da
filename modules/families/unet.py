"""The U-Nets of Stable Diffusion 1.x, 2.x and XL: one architecture (arXiv:2112.10752, arXiv:2307.01952) whose sizes are read off the tensors.

SD 1.x has 8 attention heads at every width and 1x1 convolutions around its transformers; later ones have heads of 64 channels
and linear layers there. XL has more transformer layers at its lower levels, and takes a vector beside the text (`label_emb`).
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modules.families.assembly import empty_weights, filled
from modules.families.ldm_keys import UNetShape, unet_keys, unet_shape

HEADS = 8
HEAD_WIDTH = 64


def unet_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of diffusers' UNet2DConditionModel for ldm tensors (names without `model.diffusion_model.`)."""
    shape = unet_shape(tensors)
    stride = shape.blocks + 1
    widths = tuple(
        tensors[f"input_blocks.{1 + level * stride}.0.out_layers.3.weight"].shape[0] for level in range(shape.levels)
    )
    linear = tensors["middle_block.1.proj_in.weight"].ndim == 2
    middle = _depth(tensors, "middle_block.1.")
    depths = [
        _depth(tensors, f"input_blocks.{1 + level * stride}.1.") if attends else middle
        for level, attends in enumerate(shape.attention)
    ]
    config = {
        "in_channels": tensors["input_blocks.0.0.weight"].shape[1],
        "out_channels": tensors["out.2.weight"].shape[0],
        "layers_per_block": shape.blocks,
        "block_out_channels": widths,
        "down_block_types": tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in shape.attention),
        "up_block_types": tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(shape.attention)),
        "cross_attention_dim": tensors["middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1],
        "attention_head_dim": tuple(width // HEAD_WIDTH for width in widths) if linear else HEADS,  # number of heads
        "transformer_layers_per_block": tuple(depths),
        "use_linear_projection": linear,
    }
    if "label_emb.0.0.weight" in tensors:
        vector = tensors["label_emb.0.0.weight"].shape[1]
        config.update(class_embed_type="projection", projection_class_embeddings_input_dim=vector)
    return config


def build_unet(tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> nn.Module:
    """diffusers' U-Net of the shape the ldm tensors have; raises ModelFileError for weights that do not fit."""
    from diffusers.models.unets.unet_2d_condition import (
        UNet2DConditionModel,
    )  # seconds to import; not needed to list samplers

    with empty_weights():
        unet = UNet2DConditionModel(**unet_config(tensors))
    shape: UNetShape = unet_shape(tensors)
    return filled(unet, unet_keys(shape).to_module(tensors), device, dtype)


def _depth(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Transformer layers of the block of that prefix."""
    pattern = re.compile(re.escape(prefix) + r"transformer_blocks\.(\d+)\.")
    return 1 + max((int(match[1]) for key in tensors if (match := pattern.match(key))), default=0)
