"""GLoRA (arXiv:2306.07967): W' = W + s (W A + B), with A = A1 A2 and B = B1 B2 of low rank."""

from dataclasses import dataclass

import torch
from torch import Tensor

from modules.networks.kinds.change import Parts, on, scale_of

NEEDS = frozenset({"a1", "a2", "b1", "b2"})


@dataclass(frozen=True, kw_only=True)
class Glora:
    """`a` (in, r) and (r, in), `b` (out, r) and (r, in)."""

    a: tuple[Tensor, Tensor]
    b: tuple[Tensor, Tensor]
    scale: float
    bias: Tensor | None = None

    def fits(self, shape: torch.Size) -> bool:
        """As Change's."""
        columns = shape[1:].numel()
        of_a = self.a[0].shape[0] == self.a[1].shape[1] == columns and self.a[0].shape[1] == self.a[1].shape[0]
        of_b = (self.b[0].shape[0], self.b[1].shape[1]) == (shape[0], columns)
        return len(shape) > 1 and of_a and of_b and self.b[0].shape[1] == self.b[1].shape[0]

    def difference(self, weight: Tensor, rank: int | None) -> Tensor:
        """As Change's."""
        a1, a2, b1, b2 = (on(weight, factor) for factor in (*self.a, *self.b))
        return self.scale * (weight.flatten(1) @ a1[:, :rank] @ a2[:rank] + b1[:, :rank] @ b2[:rank])


def read(parts: Parts) -> Glora:
    """The change these tensors are; old files have the factors of each product the other way round."""
    a, b = (tuple(parts[f"{name}{n}"].flatten(1) for n in (1, 2)) for name in "ab")
    a, b = ((one, two) if one.shape[0] >= one.shape[1] else (two, one) for one, two in (a, b))
    return Glora(a=a, b=b, scale=scale_of(parts, a[0].shape[1]))
