"""Rectified flow (Liu et al. 2022, arXiv:2209.03003): z_sigma = (1 - sigma) x_0 + sigma eps, sigma in (0, 1].

Its ODE dz/dsigma = v = (z - D) / sigma is the one that samplers in sigma solve, so those without noise of their own work as
they are. Divided by 1 - sigma, z is x_0 with noise of s = sigma / (1 - sigma) added, where the others work.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modules.sampling.denoiser import TRAIN_STEPS, Denoiser, Network, NoiseLevels, beside
from modules.sampling.steps import Callback, Extra, NoiseSampler, Steps

TOP = 0.9999  # stands for sigma 1, where s is infinite


class FlowLevels(NoiseLevels):
    """sigma = shift t / (1 + (shift - 1) t) for t = 1/1000 ... 1 (Stable Diffusion 3, arXiv:2403.03206, eq. 23)."""

    def __init__(self, shift: float = 1.0, *, device: torch.device | None = None, quantized: bool = False) -> None:
        t = torch.arange(1, TRAIN_STEPS + 1, device=device) / TRAIN_STEPS
        sigmas = shift * t / (1 + (shift - 1) * t)
        super().__init__((1 - sigmas) ** 2 / ((1 - sigmas) ** 2 + sigmas**2), quantized=quantized)
        self.sigmas, self.log_sigmas = sigmas, sigmas.log()
        self._shift = shift

    def quantized(self) -> "FlowLevels":
        """The same levels with times rounded to trained ones."""
        return FlowLevels(self._shift, device=self.sigmas.device, quantized=True)

    def downcast(self) -> "FlowLevels":
        """Themselves: they come of no alphas."""
        return self

    def zero_terminal(self) -> "FlowLevels":
        """Themselves: they end in pure noise."""
        return self


class FlowDenoiser:
    """D(z; sigma) = z - sigma v(z, 1000 sigma), v = eps - x_0."""

    def __init__(self, network: Network, levels: NoiseLevels) -> None:
        self._network = network
        self._levels = levels

    def __call__(self, x: Tensor, sigma: Tensor, *, context: Tensor, extra: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), sigma (B,), context (B, T, D), extra (B, E, H, W) -> (B, C, H, W)."""
        v = self._network(beside(x, extra), TRAIN_STEPS * sigma, context)
        return x - sigma.view(-1, 1, 1, 1) * v


class _Scaled:
    """A flow's denoiser for y = z / (1 - sigma) at level s = sigma / (1 - sigma)."""

    def __init__(self, model: Denoiser) -> None:
        self._model = model

    def __call__(self, y: Tensor, s: Tensor, **extra_args: Any) -> Tensor:
        return self._model(*_unscaled(y, s), **extra_args)

    def both(self, y: Tensor, s: Tensor, **extra_args: Any) -> tuple[Tensor, Tensor]:
        return self._model.both(*_unscaled(y, s), **extra_args)  # type: ignore[attr-defined]


def _unscaled(y: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """(z, sigma) of (y, s); s is a scalar or (B,)."""
    sigma = s / (1 + s)
    return y * (1 - sigma).view(-1, *([1] * (y.ndim - 1))), sigma


def in_data_scale(sample: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A sampler that adds noise, for flows: it works on y, where noise adds up as it expects, and hands back z."""

    def scaled(
        model: Denoiser,
        x: Tensor,
        sigmas: Tensor,
        extra_args: Extra = None,
        callback: Callback | None = None,
        noise_sampler: NoiseSampler | None = None,
        **options: Any,
    ) -> Tensor:
        sigmas = sigmas.clamp(max=TOP)

        def report(step: dict[str, Any]) -> None:
            z, sigma = _unscaled(step["x"], step["sigma"])
            if callback:
                callback({**step, "x": z, "sigma": sigma})

        def draw(s: Tensor, s_next: Tensor) -> Tensor:
            noise = noise_sampler or (lambda sigma, sigma_next: torch.randn_like(x))
            return noise(s / (1 + s), s_next / (1 + s_next))

        for bound in {"s_tmin", "s_tmax"} & options.keys():
            options[bound] = options[bound] / (1 - options[bound]) if options[bound] < 1 else math.inf
        y = x / (1 - sigmas[0])
        y = sample(_Scaled(model), y, sigmas / (1 - sigmas), extra_args, report, draw, **options)
        return y * (1 - sigmas[-1])

    return scaled


def with_churn_in_data_scale(sample: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The sampler itself while no churn is asked for."""
    churned = in_data_scale(sample)

    def chosen(*arguments: Any, **options: Any) -> Tensor:
        return (churned if options.get("s_churn", 0) > 0 else sample)(*arguments, **options)

    return chosen


def sample_euler_ancestral_flow(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 1.0,
) -> Tensor:
    """Euler a on a flow, as ComfyUI's users know it: down to sigma' (1 + eta (sigma' / sigma - 1)), and with noise back up to sigma'."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    for i in range(len(sigmas) - 1):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]
        denoised = steps.denoise(x, sigma)
        steps.report(i, sigma, x, denoised)
        down = sigma_next * (1 + eta * (sigma_next / sigma - 1))
        x = denoised + (x - denoised) * (down / sigma)
        if eta > 0 and sigma_next > 0:
            scale = (1 - sigma_next) / (1 - down)
            up = (sigma_next**2 - (down * scale) ** 2).clamp(min=0).sqrt()
            x = x * scale + steps.noise(sigma, sigma_next) * up
    return x
