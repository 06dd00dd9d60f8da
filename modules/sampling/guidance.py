"""Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598), composed (Liu et al. 2022, arXiv:2206.01714)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from modules.sampling.attention_guidance import Correction
from modules.sampling.conditioning import Composed, Scheduled, stacked
from modules.sampling.denoiser import ContextDenoiser
from modules.sampling.tempering import Rescale, Threshold
from modules.sampling.view import View


@dataclass(frozen=True, kw_only=True)
class Skips:
    """Calls that leave D_u out and take D_c for D: those up to number `until` (A1111's Skip Early CFG, where it is above 0),
    and below the noise level `below` (negative guidance minimum sigma) `every` one or every second."""

    until: float = 0.0
    below: float = 0.0
    every: bool = False

    def __call__(self, call: int, sigma: Tensor) -> bool:
        """Is call number `call`, at noise levels sigma (B,), one of them?"""
        if self.until and call <= self.until:
            return True
        return bool(self.below) and (self.every or call % 2 == 1) and bool(sigma[0] < self.below)


class Asked(NamedTuple):
    """A call of the denoiser and its answer: x (N, C, H, W), sigma (N,), context (N, T, D), each row's picture, D (N, C, H, W), and
    how many of the first rows are guided by the prompt."""

    x: Tensor
    sigma: Tensor
    context: Tensor
    rows: list[int]
    d: Tensor
    guided: int


Groups = tuple[tuple[str, int], ...]
"""What the rows of a call are, in their order: ("cond", number of the parts of all prompts), ("uncond", number of pictures),
("bare", of those without the picture to change)."""


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What is done beyond the formula, in this order. None and 0 are without.

    `threshold` and `rescale` need D_u, and are without effect in a call that leaves it out. `self_attention` looks at
    D_u, or where that is left out at D_c; `perturbed` looks at D_c. `told` is called before each call of the denoiser, with the
    number of the step and what its rows are; with no groups before the calls of those two.
    """

    threshold: Threshold | None = None
    rescale: Rescale | None = None
    self_attention: Correction | None = None
    perturbed: Correction | None = None
    told: Callable[[int, Groups], None] | None = None


class Guided:
    """D = D_u + sum_i w_i s (D_i - D_u) with guidance scale s; all in one batch where their contexts are equally long, unless
    they are not to be `together`.

    `cond` and `uncond` hold one entry a picture, or are tensors (B, T, D) that stay the same. Every call is a step of
    their schedules, the first being number `calls`, 0 as in A1111. D_u is left out where it has no weight, and where `skips`
    says so; then D is D_c (several of them: their weighted mean). `extra` (B, E, H, W): latents that the network sees beside x; with `image_scale` s_I what it sees counts by that.
    """

    def __init__(
        self,
        denoiser: ContextDenoiser,
        cond: Sequence[Composed] | Tensor,
        uncond: Sequence[Scheduled] | Tensor,
        scale: float,
        skips: Skips | None = None,
        *,
        together: bool = True,
        extra: Tensor | None = None,
        extras: Extras | None = None,
        calls: int = 0,
        image_scale: float | None = None,
        view: View | None = None,
    ) -> None:
        self._denoiser = denoiser
        self._cond = [Composed(((Scheduled.constant(c), 1.0),)) for c in cond] if isinstance(cond, Tensor) else cond
        self._uncond = [Scheduled.constant(u) for u in uncond] if isinstance(uncond, Tensor) else uncond
        self._owners = [i for i, composed in enumerate(self._cond) for _ in composed.parts]  # the picture of each part
        self._weights = [weight * scale for composed in self._cond for _, weight in composed.parts]
        self._unguided = len(self._owners) == len(self._cond) and all(w == 1 for w in self._weights)
        self._skips = skips or Skips()
        self._together = together
        self._extra = extra
        self._extras = extras or Extras()
        self._calls = calls
        self._image_scale = image_scale
        self._view = view or View()

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x (B, C, H, W), sigma (B,) -> D (B, C, H, W)."""
        if self._unguided and self._image_scale is None:
            call = self._next_call()
            cond, _ = self._contexts(call)
            self._tell(call, cond=len(x))
            d = self._ask(x, sigma, cond, self._owners, len(x))
            return self._corrected(d, Asked(x, sigma, cond, self._owners, d, len(x)), None)
        return self.both(x, sigma)[0]

    def both(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, H, W), sigma (B,) -> D and D_u, each (B, C, H, W); where D_u is left out it is D_c."""
        call = self._next_call()
        cond, uncond = self._contexts(call)
        xs, sigmas = x[self._owners], sigma[self._owners]
        if self._image_scale is None and self._skips(call, sigma):
            self._tell(call, cond=len(xs))
            d_c = self._ask(xs, sigmas, cond, self._owners, len(xs))
            d = self._mean(d_c, x)
            return self._corrected(d, Asked(xs, sigmas, cond, self._owners, d_c, len(xs)), None), d
        every = list(range(len(x)))
        if self._together and cond.shape[1] == uncond.shape[1]:
            contexts, rows = torch.cat([cond, uncond]), [*self._owners, *every]
            self._tell(call, cond=len(xs), uncond=len(x))
            d = self._ask(torch.cat([xs, x]), torch.cat([sigmas, sigma]), contexts, rows, len(xs))
            d_c, d_u = d.split([len(xs), len(x)])
        else:
            self._tell(call, cond=len(xs))
            d_c = self._ask(xs, sigmas, cond, self._owners, len(xs))
            self._tell(call, uncond=len(x))
            d_u = self._ask(x, sigma, uncond, every, 0)
        denoised = d_u.clone() if self._image_scale is None else self._without_picture(call, x, sigma, uncond, d_u)
        for d_i, owner, weight in zip(d_c, self._owners, self._weights, strict=True):
            denoised[owner] += (d_i - d_u[owner]) * weight
        if self._extras.threshold:
            denoised = self._extras.threshold(denoised, d_u)
        if self._extras.rescale:
            denoised = self._extras.rescale(denoised, self._mean(d_c, x), x, sigma)
        asked = Asked(xs, sigmas, cond, self._owners, d_c, len(xs)), Asked(x, sigma, uncond, every, d_u, 0)
        return self._corrected(denoised, *asked), d_u

    def _corrected(self, d: Tensor, cond: Asked, uncond: Asked | None) -> Tensor:
        """D (B, C, H, W) with what the attention techniques add to it."""

        def term(correction: Correction, asked: Asked) -> Tensor:
            x, sigma, context, rows, d_i, guided = asked
            return correction(x, sigma, d_i, lambda other: self._ask(other, sigma, context, rows, guided))

        first, second = self._extras.self_attention, self._extras.perturbed
        self._tell(self._calls - 1)
        if first:  # it reads the attention of the latest call, which was the one for D_u if there was one
            d = d + (term(first, uncond) if uncond else self._mean(term(first, cond), d))
        return d + self._mean(term(second, cond), d) if second else d

    def _without_picture(self, call: int, x: Tensor, sigma: Tensor, uncond: Tensor, d_u: Tensor) -> Tensor:
        """InstructPix2Pix (arXiv:2211.09800, eq. 3) without the prompt's term: D_0 + s_I (D_u - D_0), D_0 without the picture either."""
        assert self._extra is not None
        assert self._image_scale is not None
        self._tell(call, bare=len(x))
        self._view.tell(range(len(x)), 0)
        nothing = {"extra": torch.zeros_like(self._extra)}
        d_0 = self._denoiser(x, sigma, context=uncond, **nothing)
        return d_0 + self._image_scale * (d_u - d_0)

    def _tell(self, call: int, **groups: int) -> None:
        """Say what the next call of the denoiser is for."""
        if self._extras.told:
            self._extras.told(call, tuple(groups.items()))

    def _ask(self, x: Tensor, sigma: Tensor, context: Tensor, rows: list[int], guided: int) -> Tensor:
        """D of x, whose rows belong to those pictures, the first ones `guided` by the prompt."""
        self._view.tell(rows, guided)
        extra = {} if self._extra is None else {"extra": self._extra[rows]}
        return self._denoiser(x, sigma, context=context, **extra)

    def _mean(self, d_c: Tensor, x: Tensor) -> Tensor:
        """The parts (N, C, H, W) of each picture in one, by their weights: (B, C, H, W)."""
        if len(d_c) == len(x):
            return d_c
        total, weights = torch.zeros_like(x), x.new_zeros(len(x), 1, 1, 1)
        for d_i, owner, weight in zip(d_c, self._owners, self._weights, strict=True):
            total[owner] += d_i * weight
            weights[owner] += weight
        return torch.where(weights == 0, total, total / weights)

    def _next_call(self) -> int:
        call, self._calls = self._calls, self._calls + 1
        return call

    def _contexts(self, step: int) -> tuple[Tensor, Tensor]:
        """(N, T, D) of all parts, N >= B, and (B, T', D) at that step."""
        cond = stacked([part.at(step) for composed in self._cond for part, _ in composed.parts])
        return cond, stacked([scheduled.at(step) for scheduled in self._uncond])
