"""Weights kept as float8 (e4m3) between the computations, at half the memory of 16 bits: A1111's "FP8 weight".

Linear and convolutional layers alone, their biases rounded alike; what they compute in stays as it was. LoRAs are added to what
is unpacked, so that they are not rounded.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modules.families.packed import PackedTensor

LAYERS = (nn.Linear, nn.Conv2d)
DTYPE = torch.float8_e4m3fn


@dataclass(frozen=True)
class Float8Codec:
    """Each value as it is."""

    kept = True

    def unpack(self, packed: Tensor, columns: int) -> Tensor:
        """As Codec's; float16 holds all of e4m3."""
        return packed.half()


def keep_as_float8(modules: Iterable[nn.Module]) -> None:
    """Round the layers of some networks, those that are packed already aside."""
    for layer in (layer for module in modules for layer in module.modules() if isinstance(layer, LAYERS)):
        weight, bias = layer.weight, layer.bias
        if isinstance(weight, PackedTensor) or not weight.is_floating_point():
            continue
        rows = rounded(weight.detach()).flatten(1)
        packed = PackedTensor(rows, Float8Codec(), tuple(weight.shape[1:]), weight.dtype)
        layer.weight = nn.Parameter(packed, requires_grad=False)
        if bias is not None:
            layer.bias = nn.Parameter(rounded(bias.detach()).to(bias.dtype), requires_grad=False)


def rounded(tensor: Tensor) -> Tensor:
    """In float8; what is out of its range becomes its largest number, and not NaN."""
    largest = torch.finfo(DTYPE).max
    return tensor.clamp(-largest, largest).to(DTYPE)
