"""A change of one layer's weight, whatever its kind."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from modules.core.errors import ModelFileError

Parts = Mapping[str, Tensor]
"""The tensors of one layer in a network file, by the names of naming.py."""


class Change(Protocol):
    """What one network does to one layer. Tensors are as in the file, on the CPU; nothing is computed before it is asked for."""

    @property
    def bias(self) -> Tensor | None:
        """What is added to the layer's bias (out,), if anything."""
        ...

    def fits(self, shape: torch.Size) -> bool:
        """Can it change a weight of that shape, (out, in, ...)?"""
        ...

    def difference(self, weight: Tensor, rank: int | None) -> Tensor:
        """Weight W (out, in, ...), float32, on any device -> what is added to it at a multiplier of 1, of as many elements.

        `rank`: of low-rank factors, only so many are used.
        """
        ...


def on(weight: Tensor, tensor: Tensor) -> Tensor:
    """That tensor in float32 where the weight is; float8 goes by way of float16."""
    if tensor.dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        tensor = tensor.to(torch.float16)
    return tensor.to(weight.device, torch.float32)


def scale_of(parts: Parts, rank: int | None) -> float:
    """alpha / r; 1 without alpha, or where nothing is of low rank."""
    if "alpha" in parts and rank:
        return number(parts["alpha"]) / rank
    return number(parts["scale"]) if "scale" in parts else 1.0


def number(tensor: Tensor) -> float:
    """The one number a tensor holds; raises ModelFileError for more or none."""
    if tensor.numel() != 1:
        raise ModelFileError(f"A scale in the network file holds {tensor.numel()} numbers, not one. Download it again.")
    return float(tensor.float().item())


def matrix_fits(shape: torch.Size, out: int, columns: int) -> bool:
    """Is a weight of that shape, its kernel flattened, an (out, columns) matrix?"""
    return len(shape) > 0 and shape[0] == out and shape.numel() == out * columns
