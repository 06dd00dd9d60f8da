"""A discrete-time diffusion model as a denoiser D(x; sigma)."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

TRAIN_STEPS = 1000


class NoiseLevels:
    """sigma_t = sqrt((1 - a_t) / a_t) of a discrete model, and the continuous time between its steps.

    In between, log sigma is linear in t (as k-diffusion does).
    """

    def __init__(self, alphas_cumprod: Tensor) -> None:
        self.sigmas = ((1 - alphas_cumprod) / alphas_cumprod).sqrt()  # (1000,), rising
        self.log_sigmas = self.sigmas.log()

    @property
    def sigma_min(self) -> float:
        """The lowest noise level the model was trained at."""
        return self.sigmas[0].item()

    @property
    def sigma_max(self) -> float:
        """The highest noise level the model was trained at."""
        return self.sigmas[-1].item()

    def sigma(self, t: Tensor) -> Tensor:
        """sigma at real times `t` in [0, 999]."""
        t = t.float()
        low, high, w = t.floor().long(), t.ceil().long(), t.frac()
        return ((1 - w) * self.log_sigmas[low] + w * self.log_sigmas[high]).exp()

    def t(self, sigma: Tensor) -> Tensor:
        """The real time whose noise level is `sigma`, clamped to the range of the model."""
        log_sigma = sigma.log()
        distances = log_sigma - self.log_sigmas[:, None]
        low = distances.ge(0).cumsum(dim=0).argmax(dim=0).clamp(max=self.log_sigmas.shape[0] - 2)
        high = low + 1
        w = ((self.log_sigmas[low] - log_sigma) / (self.log_sigmas[low] - self.log_sigmas[high])).clamp(0, 1)
        return ((1 - w) * low + w * high).view(sigma.shape)


def scaled_linear_alphas_cumprod(start: float = 0.00085, end: float = 0.012) -> Tensor:
    """Stable Diffusion's schedule: sqrt(beta) linear, in float64, the product in float32. (1000,)"""
    betas = torch.linspace(start**0.5, end**0.5, TRAIN_STEPS, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float()


class Denoiser(Protocol):
    """What samplers call: `denoised = model(x, sigma, **extra_args)`."""

    def __call__(self, x: Tensor, sigma: Tensor, **extra_args: object) -> Tensor:
        """x (B, C, H, W), latent space; sigma (B,); the estimate of the clean latents, shaped as x."""
        ...


Network = Callable[[Tensor, Tensor, Tensor], Tensor]  # (x (B, C, H, W), t (B,), context (B, T, D)) -> output as x


class EpsDenoiser:
    """D(x; sigma) = x - sigma eps(c_in x, t), c_in = 1 / sqrt(sigma^2 + 1)."""

    def __init__(self, network: Network, levels: NoiseLevels) -> None:
        self._network = network
        self._levels = levels

    def __call__(self, x: Tensor, sigma: Tensor, *, context: Tensor) -> Tensor:
        """x (B, C, H, W), sigma (B,), context (B, T, D) -> (B, C, H, W)."""
        s = sigma.view(-1, 1, 1, 1)
        eps = self._network(x / (s**2 + 1).sqrt(), self._levels.t(sigma), context)
        return x - s * eps
