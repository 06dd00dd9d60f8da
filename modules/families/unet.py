"""The U-Nets of Stable Diffusion 1.x, 2.x and XL: one architecture (arXiv:2112.10752, arXiv:2307.01952) whose sizes are read off the tensors.

SD 1.x has 8 attention heads at every width and 1x1 convolutions around its transformers; later ones have heads of 64 channels
and linear layers there. XL has more transformer layers at its lower levels, and takes a vector beside the text (`label_emb`).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.devices.precision import upcast_layers
from modules.families.assembly import empty_weights, filled
from modules.families.ldm_keys import UNetShape, unet_keys, unet_shape

Vector = Callable[[Tensor, int, int], Tensor]  # what prompts tell (B, P) and the picture's height and width -> (B, V)


class Call(NamedTuple):
    """What a U-Net is called with: x (N, C, h, w), t (N,), context (N, T, D), labels (N, V) or None, in the type that it computes in."""

    x: Tensor
    t: Tensor
    context: Tensor
    labels: Tensor | None

    def of(self, rows: Sequence[int]) -> "Call":
        """Those rows of it."""
        at = list(rows)
        return Call(self.x[at], self.t[at], self.context[at], None if self.labels is None else self.labels[at])


Adds = Callable[[Call], dict[str, Any]]
"""More arguments for that call, or others, by the names of diffusers' UNet2DConditionModel: residuals of ControlNets, words of a picture."""

HEADS = 8
HEAD_WIDTH = 64


def unet_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of diffusers' UNet2DConditionModel for ldm tensors (names without `model.diffusion_model.`)."""
    return {
        **encoder_config(tensors),
        "out_channels": tensors["out.2.weight"].shape[0],
        "up_block_types": tuple(
            "CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(unet_shape(tensors).attention)
        ),
    }


def encoder_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What of it the way down tells: all that a ControlNet, which is a copy of that, has."""
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
        "layers_per_block": shape.blocks,
        "block_out_channels": widths,
        "down_block_types": tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in shape.attention),
        "cross_attention_dim": tensors["middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1],
        "attention_head_dim": tuple(width // HEAD_WIDTH for width in widths) if linear else HEADS,  # number of heads
        "transformer_layers_per_block": tuple(depths),
        "use_linear_projection": linear,
    }
    if "label_emb.0.0.weight" in tensors:
        vector = tensors["label_emb.0.0.weight"].shape[1]
        config.update(class_embed_type="projection", projection_class_embeddings_input_dim=vector)
    return config


def build_unet(tensors: Mapping[str, Tensor], compute: Compute) -> nn.Module:
    """diffusers' U-Net of the shape the ldm tensors have, upsampling as A1111's does; raises ModelFileError for weights that do not fit."""
    from diffusers.models.unets.unet_2d_condition import (
        UNet2DConditionModel,
    )  # seconds to import; not needed to list samplers

    from modules.families.doubling import double

    with empty_weights():
        unet = UNet2DConditionModel(**unet_config(tensors))
    double(unet)
    shape: UNetShape = unet_shape(tensors)
    filled(unet, unet_keys(shape).to_module(tensors), compute.home, compute.dtype)
    if compute.upcast:
        upcast_layers(unet)
    if compute.device.type == "cpu" and compute.dtype is torch.bfloat16:
        unet.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # its convolutions are quicker so
    return unet


class UNetNetwork:
    """A U-Net whose vector, if it wants one, comes of what stands in the context behind its first cross_attention_dim channels."""

    def __init__(self, unet: Any, compute: Compute, vector: Vector | None = None, *, downscale: int = 8) -> None:
        self._unet = unet
        self._dtype = compute.unet_dtype
        self._vector = vector
        self._downscale = downscale
        self._adds: Adds | None = None

    @contextmanager
    def adding(self, adds: "Adds") -> Iterator[None]:
        """Give the U-Net, with every call, what `adds` says besides."""
        before, self._adds = self._adds, adds
        try:
            yield
        finally:
            self._adds = before

    def __call__(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """As Network's."""
        labels = None
        if self._vector:
            width = self._unet.config.cross_attention_dim
            told, context = context[:, 0, width:], context[..., :width]
            height, width = (side * self._downscale for side in x.shape[-2:])
            labels = self._vector(told, height, width).to(self._dtype)
        x, context = x.to(self._dtype), context.to(self._dtype)
        more = self._adds(Call(x, t, context, labels)) if self._adds else {}
        told = {"encoder_hidden_states": context, "class_labels": labels, **more}
        return self._unet(x, t, return_dict=False, **told)[0].float()


def _depth(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Transformer layers of the block of that prefix."""
    pattern = re.compile(re.escape(prefix) + r"transformer_blocks\.(\d+)\.")
    return 1 + max((int(match[1]) for key in tensors if (match := pattern.match(key))), default=0)
