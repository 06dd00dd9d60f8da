"""(IA)3 (arXiv:2205.05638): what a layer gives, or what it is given, times 1 + l: W' = W + W * l."""

from dataclasses import dataclass

import torch
from torch import Tensor

from modules.networks.kinds.change import Parts, on

NEEDS = frozenset({"weight", "on_input"})


@dataclass(frozen=True, kw_only=True)
class Ia3:
    """`factors` l: of the inputs (in,) if `on_input`, else of the outputs (out, 1)."""

    factors: Tensor
    on_input: bool
    bias: Tensor | None = None

    def fits(self, shape: torch.Size) -> bool:
        """As Change's."""
        return len(shape) > 1 and self.factors.numel() == shape[1 if self.on_input else 0]

    def difference(self, weight: Tensor, rank: int | None) -> Tensor:
        """As Change's."""
        rest = [1] * (weight.ndim - 2)
        factors = on(weight, self.factors).flatten()
        return weight * (factors.reshape(1, -1, *rest) if self.on_input else factors.reshape(-1, 1, *rest))


def read(parts: Parts) -> Ia3:
    """The change these tensors are."""
    return Ia3(factors=parts["weight"], on_input=bool(parts["on_input"].flatten()[0].item()))
