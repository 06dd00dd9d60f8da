"""A Stable Diffusion 1.x of seeded random weights, in the layout and at the size of the files people download.

It draws no pictures; it takes the time and the memory that they take. Every tensor has a generator of its own, seeded by
its name, and a spread that keeps what goes through the network near a variance of 1.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modules.families.ldm_keys import TEXT, UNET, VAE, UNetShape, VaeShape, text_keys, unet_keys, vae_keys
from modules.merging.writer import Form, Writer

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Widths of the U-Net's and the autoencoder's levels, ResNet blocks a level, and width and layers of the text encoder."""

    unet: tuple[int, ...] = (320, 640, 1280, 1280)
    vae: tuple[int, ...] = (128, 256, 512, 512)
    blocks: int = 2
    text: int = 768
    layers: int = 12


SD15 = Sizes()


def write_seeded(path: Path, sizes: Sizes = SD15, seed: int = 0) -> None:
    """Write it as float16, 2.1 GB at SD 1.5's sizes; raises StorageError where there is no room for it."""
    shapes = dict(sd_shapes(sizes))
    forms: dict[str, Form] = {name: (torch.float16, shape) for name, shape in shapes.items()}
    with Writer(path, path.with_suffix(".part"), forms, {}) as writer:
        for name in writer.names:
            writer.write(draw(name, shapes[name], seed).half())


def draw(name: str, shape: Shape, seed: int) -> Tensor:
    """The tensor of that name, float32."""
    number = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:7], "big")
    values = torch.randn(shape, generator=torch.Generator().manual_seed(number))
    if name.endswith("bias"):
        return 0.02 * values
    if len(shape) == 1:  # of a norm
        return 1 + 0.05 * values
    if "embedding" in name:
        return 0.02 * values
    return values / math.sqrt(math.prod(shape[1:]))


def sd_shapes(sizes: Sizes) -> Iterator[tuple[str, Shape]]:
    """Names and shapes of its tensors."""
    unet, attends = _unet(sizes)
    unet_shape = UNetShape(levels=len(sizes.unet), blocks=sizes.blocks, attention=attends)
    vae_shape = VaeShape(levels=len(sizes.vae), blocks=sizes.blocks)
    vae, text = empty_vae(sizes.vae, sizes.blocks), empty_text(width=sizes.text, layers=sizes.layers)
    for prefix, keys, module in (
        (UNET, unet_keys(unet_shape), unet),
        (VAE, vae_keys(vae_shape), vae),
        (TEXT, text_keys(), text),
    ):
        tensors = keys.to_ldm(dict(module.named_parameters()))
        yield from ((prefix + name, tuple(tensor.shape)) for name, tensor in tensors.items())


def _unet(sizes: Sizes) -> tuple[Any, tuple[bool, ...]]:
    """The U-Net without memory, and which of its levels attend: all but the last."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    attends = (*(True,) * (len(sizes.unet) - 1), False)
    down = ["CrossAttnDownBlock2D" if one else "DownBlock2D" for one in attends]
    up = ["CrossAttnUpBlock2D" if one else "UpBlock2D" for one in reversed(attends)]
    config: dict[str, Any] = {
        "block_out_channels": sizes.unet,
        "layers_per_block": sizes.blocks,
        "down_block_types": tuple(down),
        "up_block_types": tuple(up),
        "attention_head_dim": 8,
        "cross_attention_dim": sizes.text,
    }
    with torch.device("meta"):
        return UNet2DConditionModel(**config), attends


def empty_vae(widths: tuple[int, ...] = SD15.vae, blocks: int = 2) -> Any:
    """An autoencoder of those widths without memory."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    config: dict[str, Any] = {
        "block_out_channels": widths,
        "down_block_types": ("DownEncoderBlock2D",) * len(widths),
        "up_block_types": ("UpDecoderBlock2D",) * len(widths),
    }
    with torch.device("meta"):
        return AutoencoderKL(**config, layers_per_block=blocks, latent_channels=4)


def empty_text(*, width: int, layers: int) -> Any:
    """A CLIP text encoder of that size without memory."""
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
    )
    with torch.device("meta"):
        return CLIPTextModel(config)
