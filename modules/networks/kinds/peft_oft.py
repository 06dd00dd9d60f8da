"""OFT (arXiv:2306.07280) as PEFT writes it, in the three ways that it has had.

Since 0.16 (`oft_R.weight`) each block is told by the upper triangle of its skew-symmetric Q, and turns inputs: W' = W R^T, with R of
Cayley's (I - Q)(I + Q)^-1 or, as PEFT does unless its configuration says otherwise, of the first terms of its series I + 2 Q + 2 Q^2 ...,
of whose last one Q^n only one is taken. Before that (`oft_r`) Q = (A - A^T) / 2 of a whole block A: with scales of the outputs (`oft_s`)
inputs are turned, without them outputs, W' = R^T W.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from modules.networks.kinds.change import Parts, on

UPPER, WHOLE, SCALES, TERMS = "oft_upper", "oft_whole", "oft_scales", "oft_terms"
NEEDS = ({UPPER}, {WHOLE})
USUAL_TERMS = 5


@dataclass(frozen=True, kw_only=True)
class PeftOft:
    """`blocks`: (n, b (b - 1) / 2) if they are triangles, or (n, b, b); one for all if n is 1. `terms`: of the series; 0: the whole of it."""

    blocks: Tensor
    on_input: bool
    terms: int = 0
    scales: Tensor | None = None
    bias: Tensor | None = None

    @property
    def side(self) -> int:
        """b."""
        if self.blocks.ndim == 3:
            return self.blocks.shape[-1]
        return round((1 + math.sqrt(1 + 8 * self.blocks.shape[-1])) / 2)

    def fits(self, shape: torch.Size) -> bool:
        """As Change's."""
        if len(shape) < 2 or self.blocks.ndim not in (2, 3) or 0 in self.blocks.shape:
            return False
        count, side = len(self.blocks), self.side
        drawn = self.blocks.shape[-1] == (side * (side - 1) // 2 if self.blocks.ndim == 2 else self.blocks.shape[-2])
        turned = shape[1:].numel() if self.on_input else shape[0]
        whole = turned % side == 0 if self.on_input else True  # the last block of outputs may reach over the end
        enough = count == 1 or count == math.ceil(turned / side)
        return drawn and whole and enough and (self.scales is None or self.scales.numel() == shape[0])

    def difference(self, weight: Tensor, rank: int | None) -> Tensor:
        """As Change's."""
        rotations, matrix = self._rotations(on(weight, self.blocks)), weight.flatten(1)
        if self.on_input:
            found = torch.einsum(
                "onb,ncb->onc", matrix.unflatten(1, (-1, self.side)), self._each(rotations, matrix.shape[1])
            )
        else:
            over = -len(matrix) % self.side
            rows = torch.nn.functional.pad(matrix, (0, 0, 0, over)).unflatten(0, (-1, self.side))
            found = torch.einsum("nbc,nbi->nci", self._each(rotations, len(matrix) + over), rows).flatten(0, 1)[
                : len(matrix)
            ]
        found = found.reshape(weight.shape)
        if self.scales is not None:
            found = found * on(weight, self.scales).reshape(-1, *[1] * (weight.ndim - 1))
        return found - weight

    def _each(self, rotations: Tensor, turned: int) -> Tensor:
        """A rotation for each block of so many turned in all."""
        return rotations.expand(turned // self.side, -1, -1)

    def _rotations(self, blocks: Tensor) -> Tensor:
        """R (n, b, b)."""
        if blocks.ndim == 3:
            q = (blocks - blocks.transpose(1, 2)) / 2
        else:
            q = blocks.new_zeros(len(blocks), self.side, self.side)
            rows, columns = torch.triu_indices(self.side, self.side, 1)
            q[:, rows, columns] = blocks
            q = q - q.transpose(1, 2)
        one = torch.eye(self.side, device=q.device)
        if not self.terms:
            return torch.linalg.solve(one + q, one - q, left=False)
        found, power = one.expand_as(q), one
        terms = max(self.terms, 4) if self.terms > 2 else self.terms  # PEFT's three are four
        for term in range(1, terms):
            power = power @ q
            found = found + power * (1 if term == terms - 1 > 2 else 2)
        return found


def read(parts: Parts) -> PeftOft:
    """The change these tensors are."""
    if UPPER in parts:
        terms = int(parts[TERMS]) if TERMS in parts else USUAL_TERMS
        return PeftOft(blocks=parts[UPPER], on_input=True, terms=terms)
    scales = parts.get(SCALES)
    return PeftOft(blocks=parts[WHOLE], on_input=scales is not None, scales=scales)
