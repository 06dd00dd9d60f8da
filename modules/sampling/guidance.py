"""Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598), composed (Liu et al. 2022, arXiv:2206.01714)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from modules.sampling.conditioning import Composed, Scheduled, stacked

Estimate = Callable[..., Tensor]  # (x (B, C, H, W), sigma (B,), *, context (B, T, D)) -> D as x


class Guided:
    """D = D_u + sum_i w_i s (D_i - D_u) with guidance scale s; all in one batch where their contexts are equally long.

    `cond` and `uncond` hold one entry a picture, or are tensors (B, T, D) that stay the same. Every call is a step of
    their schedules, the first being number 0, as in A1111. D_u is left out where it has no weight.
    """

    def __init__(
        self,
        denoiser: Estimate,
        cond: Sequence[Composed] | Tensor,
        uncond: Sequence[Scheduled] | Tensor,
        scale: float,
    ) -> None:
        self._denoiser = denoiser
        self._cond = [Composed(((Scheduled.constant(c), 1.0),)) for c in cond] if isinstance(cond, Tensor) else cond
        self._uncond = [Scheduled.constant(u) for u in uncond] if isinstance(uncond, Tensor) else uncond
        self._owners = [i for i, composed in enumerate(self._cond) for _ in composed.parts]  # the picture of each part
        self._weights = [weight * scale for composed in self._cond for _, weight in composed.parts]
        self._unguided = len(self._owners) == len(self._cond) and all(w == 1 for w in self._weights)
        self._step = 0

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x (B, C, H, W), sigma (B,) -> D (B, C, H, W)."""
        if self._unguided:
            return self._denoiser(x, sigma, context=self._next_contexts()[0])
        return self.both(x, sigma)[0]

    def both(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, H, W), sigma (B,) -> D and D_u, each (B, C, H, W)."""
        cond, uncond = self._next_contexts()
        xs, sigmas = x[self._owners], sigma[self._owners]
        if cond.shape[1] == uncond.shape[1]:
            d = self._denoiser(torch.cat([xs, x]), torch.cat([sigmas, sigma]), context=torch.cat([cond, uncond]))
            d_c, d_u = d.split([len(xs), len(x)])
        else:
            d_c, d_u = self._denoiser(xs, sigmas, context=cond), self._denoiser(x, sigma, context=uncond)
        denoised = d_u.clone()
        for d_i, owner, weight in zip(d_c, self._owners, self._weights, strict=True):
            denoised[owner] += (d_i - d_u[owner]) * weight
        return denoised, d_u

    def _next_contexts(self) -> tuple[Tensor, Tensor]:
        """(N, T, D) of all parts, N >= B, and (B, T', D) at this step; the next call is the next step."""
        step, self._step = self._step, self._step + 1
        cond = stacked([part.at(step) for composed in self._cond for part, _ in composed.parts])
        return cond, stacked([scheduled.at(step) for scheduled in self._uncond])
