"""Tiny U-Nets of random weights, and one call of them."""

from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

WIDTHS = (32, 64, 128)


def small_unet(seed: int = 0) -> Any:
    """Three levels, attention in all."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        block_out_channels=WIDTHS,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        attention_head_dim=4,
        cross_attention_dim=32,
    )
    return unet.requires_grad_(False).eval()


def inputs(batch: int = 2, height: int = 16, width: int = 16) -> tuple[Tensor, Tensor]:
    """Latents and contexts of a batch."""
    draw = torch.Generator().manual_seed(7)
    return torch.randn(batch, 4, height, width, generator=draw), torch.randn(batch, 77, 32, generator=draw)


def ask(unet: nn.Module, x: Tensor, context: Tensor, t: float = 500.0) -> Tensor:
    """The U-Net's answer, as the engine asks for it."""
    return unet(x, torch.full((len(x),), t), encoder_hidden_states=context, return_dict=False)[0]
