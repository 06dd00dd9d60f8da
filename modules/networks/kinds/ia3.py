"""(IA)3 (arXiv:2205.05638): what a layer gives, or what it is given, times 1 + l: W' = W + W * l.

LyCORIS keeps l and whether it is of the inputs; PEFT keeps 1 + l, of shape (out, 1) or (1, in), in convolutions (1, out, 1, 1) or
(1, in, 1, 1), and scales the bias too where it scales outputs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from modules.networks.kinds.change import Parts, on

NEEDS = frozenset({"weight", "on_input"})
PEFT = "ia3"


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


@dataclass(frozen=True, kw_only=True)
class PeftIa3:
    """`scales`: 1 + l, as PEFT shapes them."""

    scales: Tensor
    bias: Tensor | None = None

    def fits(self, shape: torch.Size) -> bool:
        """As Change's."""
        return len(shape) > 1 and self.scales.numel() in (shape[0], shape[1])

    def bias_difference(self, bias: Tensor) -> Tensor:
        """What is added to a bias (out,), float32."""
        return torch.zeros_like(bias) if self._on_input(len(bias)) else bias * (on(bias, self.scales).flatten() - 1)

    def difference(self, weight: Tensor, rank: int | None) -> Tensor:
        """As Change's."""
        rest = [1] * (weight.ndim - 2)
        factors = on(weight, self.scales).flatten() - 1
        return weight * (
            factors.reshape(1, -1, *rest) if self._on_input(len(weight)) else factors.reshape(-1, 1, *rest)
        )

    def _on_input(self, out: int) -> bool:
        """Are they of the inputs? Of a convolution with as many of both they are taken for outputs."""
        flat = self.scales.ndim == 2 and self.scales.shape[0] == 1 and self.scales.shape[1] > 1
        return flat or self.scales.numel() != out


def read(parts: Parts) -> Ia3 | PeftIa3:
    """The change these tensors are."""
    if PEFT in parts:
        return PeftIa3(scales=parts[PEFT])
    return Ia3(factors=parts["weight"], on_input=bool(parts["on_input"].flatten()[0].item()))
