"""Differences as they are: of whole weights (LyCORIS's "full"), of norms, and of biases."""

from dataclasses import dataclass

import torch
from torch import Tensor

from modules.networks.kinds.change import Parts, on


@dataclass(frozen=True, kw_only=True)
class Full:
    """`diff`: the difference of the weight, of its shape; None where only the bias differs."""

    diff: Tensor | None
    bias: Tensor | None = None

    def fits(self, shape: torch.Size) -> bool:
        """As Change's."""
        if self.diff is None:
            return self.bias is not None and self.bias.numel() == shape[0]
        return self.diff.shape[0] == shape[0] and self.diff.numel() == shape.numel()

    def difference(self, weight: Tensor, rank: int | None) -> Tensor:
        """As Change's."""
        return torch.zeros_like(weight) if self.diff is None else on(weight, self.diff)


def fitting(parts: Parts) -> bool:
    """Are these differences?"""
    return bool(parts.keys() & {"diff", "w_norm", "diff_b", "b_norm"})


def read(parts: Parts) -> Full:
    """The change these tensors are."""
    return Full(diff=parts.get("diff", parts.get("w_norm")), bias=parts.get("diff_b", parts.get("b_norm")))
