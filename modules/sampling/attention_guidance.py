"""Guidance away from what the model draws with less attention: perturbed-attention and self-attention guidance.

Each answers with a term to add to the guided D; noise predictions of the papers are turned into D = x - sigma eps.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

KERNEL = 9  # side of the blur in latents, as in the paper's code


class Correction(Protocol):
    """A term to add to D."""

    def __call__(self, x: Tensor, sigma: Tensor, d: Tensor, again: Callable[[Tensor], Tensor]) -> Tensor:
        """The term for x (N, C, H, W) at sigma (N,), shaped as x. `d` is what the model said of x; `again` asks it the same
        (levels, contexts and all) of another x."""
        ...


@dataclass(frozen=True, kw_only=True)
class PerturbedAttention:
    """s (D(x) - D'(x)), D' with the identity for self-attention in the middle block (arXiv:2403.17377, section 4).

    The model is asked for D' inside `perturbed()`.
    """

    perturbed: Callable[[], AbstractContextManager[None]]
    scale: float

    def __call__(self, x: Tensor, sigma: Tensor, d: Tensor, again: Callable[[Tensor], Tensor]) -> Tensor:
        """The term, shaped as x."""
        with self.perturbed():
            return (d - again(x)) * self.scale


@dataclass(frozen=True, kw_only=True)
class SelfAttention:
    """-s sigma (eps(x) - eps(x')), x' being x with D blurred where the model looked most (arXiv:2210.00939, section 4).

    With D' = D blurred under the mask, x' = D' + sigma eps = x + D' - D, and the term comes to s (D - D(x') + x' - x).
    For `flow` models x' = (1 - sigma) D' + sigma eps, and eps in the term becomes v = (x - D) / sigma.
    `attention` answers how much attention each place got in the model's latest call, (>= N, h, w), 1 on average; the last
    N rows are taken. The mask is where it is above `threshold`. `blur` is the Gaussian's deviation in latents.
    """

    attention: Callable[[], Tensor]
    scale: float
    blur: float
    threshold: float
    flow: bool = False

    def __call__(self, x: Tensor, sigma: Tensor, d: Tensor, again: Callable[[Tensor], Tensor]) -> Tensor:
        """The term, shaped as x; to be asked for before the model is asked anything else."""
        mask = (self.attention()[-len(x) :, None] > self.threshold).to(d.dtype)  # (N, 1, h, w)
        degraded = torch.where(interpolate(mask, d.shape[-2:]) > 0, blurred(d, self.blur), d)
        change = degraded - d
        if self.flow:
            change = change * (1 - sigma.view(-1, 1, 1, 1))
        return (d - again(x + change) + change) * self.scale


def blurred(d: Tensor, deviation: float) -> Tensor:
    """A Gaussian blur of each channel of d (N, C, H, W), reflected at its edges; deviation 0 leaves it as it is."""
    if deviation == 0:
        return d
    offsets = torch.arange(KERNEL, device=d.device, dtype=d.dtype) - KERNEL // 2
    weights = (-0.5 * (offsets / deviation) ** 2).exp()
    weights = (weights / weights.sum()).view(1, 1, 1, -1)
    rows = d.flatten(0, 1)[:, None]  # (N C, 1, H, W)
    rows = conv2d(pad(rows, (KERNEL // 2, KERNEL // 2, 0, 0), "reflect"), weights)
    rows = conv2d(pad(rows, (0, 0, KERNEL // 2, KERNEL // 2), "reflect"), weights.transpose(2, 3))
    return rows.view(d.shape)
