"""Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598)."""

import torch
from torch import Tensor

from modules.sampling.denoiser import EpsDenoiser


class Guided:
    """D = D_u + w (D_c - D_u); both in one batch where their contexts are equally long. w = 1 leaves D_u out."""

    def __init__(self, denoiser: EpsDenoiser, cond: Tensor, uncond: Tensor, scale: float) -> None:
        self._denoiser = denoiser
        self._cond = cond
        self._uncond = uncond
        self._scale = scale

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x (B, C, H, W), sigma (B,) -> (B, C, H, W)."""
        if self._scale == 1:
            return self._denoiser(x, sigma, context=self._cond)
        if self._cond.shape == self._uncond.shape:
            both = self._denoiser(
                torch.cat([x, x]), torch.cat([sigma, sigma]), context=torch.cat([self._cond, self._uncond])
            )
            cond, uncond = both.chunk(2)
        else:
            cond = self._denoiser(x, sigma, context=self._cond)
            uncond = self._denoiser(x, sigma, context=self._uncond)
        return uncond + (cond - uncond) * self._scale
