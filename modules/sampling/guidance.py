"""Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from modules.sampling.denoiser import ContextDenoiser


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


class Guided:
    """D = D_u + w (D_c - D_u); both in one batch where their contexts are equally long. w = 1 leaves D_u out."""

    def __init__(
        self,
        denoiser: ContextDenoiser,
        cond: Tensor,
        uncond: Tensor,
        scale: float,
        skips: Skips | None = None,
    ) -> None:
        self._denoiser = denoiser
        self._cond = cond
        self._uncond = uncond
        self._scale = scale
        self._skips = skips or Skips()
        self._calls = 0

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x (B, C, H, W), sigma (B,) -> (B, C, H, W)."""
        call, self._calls = self._calls, self._calls + 1
        if self._scale == 1 or self._skips(call, sigma):
            return self._denoiser(x, sigma, context=self._cond)
        cond, uncond = self._both(x, sigma)
        return uncond + (cond - uncond) * self._scale

    def both(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """(D, D_u), for CFG++; where D_u is left out it is D_c as well."""
        call, self._calls = self._calls, self._calls + 1
        if self._skips(call, sigma):
            cond = self._denoiser(x, sigma, context=self._cond)
            return cond, cond
        cond, uncond = self._both(x, sigma)
        return uncond + (cond - uncond) * self._scale, uncond

    def _both(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        if self._cond.shape != self._uncond.shape:
            return (
                self._denoiser(x, sigma, context=self._cond),
                self._denoiser(x, sigma, context=self._uncond),
            )
        cond, uncond = self._denoiser(
            torch.cat([x, x]), torch.cat([sigma, sigma]), context=torch.cat([self._cond, self._uncond])
        ).chunk(2)
        return cond, uncond
