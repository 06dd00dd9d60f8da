"""What all samplers share: their types, and one step's common parts."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from modules.sampling.denoiser import Denoiser

Callback = Callable[[dict[str, Any]], None]
NoiseSampler = Callable[[Tensor, Tensor], Tensor]
Extra = Mapping[str, Any] | None


class Steps:
    """Calls the model at one level for a whole batch, reports, and draws noise."""

    def __init__(
        self,
        model: Denoiser,
        x: Tensor,
        extra_args: Extra,
        callback: Callback | None,
        noise_sampler: NoiseSampler | None = None,
    ) -> None:
        self._model = model
        self._ones = x.new_ones(x.shape[0])
        self._extra = extra_args or {}
        self._callback = callback
        self._noise_sampler = noise_sampler or (lambda sigma, sigma_next: torch.randn_like(x))

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x; sigma), shaped as x; sigma is a scalar."""
        return self._model(x, sigma * self._ones, **self._extra)

    def denoise_both(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """(D, D_uncond), each shaped as x, from a model that has `both`."""
        return self._model.both(x, sigma * self._ones, **self._extra)  # type: ignore[attr-defined]

    def report(self, i: int, sigma: Tensor, x: Tensor, denoised: Tensor) -> None:
        """Tell the callback of step i: its noise level, where it started, and what the model saw in it."""
        if self._callback:
            self._callback({"i": i, "sigma": sigma, "x": x, "denoised": denoised})

    def noise(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """As many standard normals as x has, for the way from one level to another."""
        return self._noise_sampler(sigma, sigma_next)


def derivative(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
    """d = (x - D) / sigma (arXiv:2206.00364, algorithm 1, line 4)."""
    return (x - denoised) / sigma


def ancestral_step(sigma: Tensor, sigma_next: Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """(sigma_down, sigma_up): step down to the first, then add noise of the second; sigma_down^2 + sigma_up^2 = sigma_next^2."""
    up = (eta * (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2) ** 0.5).clamp(max=sigma_next)
    return (sigma_next**2 - up**2) ** 0.5, up


def preserving(x: Tensor, sigma: Tensor) -> Tensor:
    """x with noise of level sigma at the scale the network was trained at, x / sqrt(1 + sigma^2); x itself at sigma 0."""
    return x / (1 + sigma**2).sqrt()
