"""Samplers: solvers of dx/d sigma = (x - D(x; sigma)) / sigma, one function each, in the papers' letters.

`sample(model, x, sigmas, extra_args=None, callback=None, noise_sampler=None)`; x (B, C, H, W) at noise level sigmas[0],
sigmas (n + 1,) falling to 0; returns the clean latents. `callback` gets {i, sigma, x, denoised} once a step;
`noise_sampler(sigma, sigma_next)` draws as many standard normals as x has.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from modules.sampling.denoiser import Denoiser

Callback = Callable[[dict[str, Any]], None]
NoiseSampler = Callable[[Tensor, Tensor], Tensor]
Extra = Mapping[str, Any] | None


def derivative(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
    """d = (x - D) / sigma (arXiv:2206.00364, algorithm 1, line 4)."""
    return (x - denoised) / sigma


def ancestral_step(sigma: Tensor, sigma_next: Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """(sigma_down, sigma_up): step down to the first, then add noise of the second; sigma_down^2 + sigma_up^2 = sigma_next^2."""
    up = (eta * (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2) ** 0.5).clamp(max=sigma_next)
    return (sigma_next**2 - up**2) ** 0.5, up


class _Steps:
    """What the loops of all samplers share: calling the model at one level for a whole batch, and reporting."""

    def __init__(self, model: Denoiser, x: Tensor, extra_args: Extra, callback: Callback | None) -> None:
        self._model = model
        self._ones = x.new_ones(x.shape[0])
        self._extra = extra_args or {}
        self._callback = callback

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self._model(x, sigma * self._ones, **self._extra)

    def report(self, i: int, sigma: Tensor, x: Tensor, denoised: Tensor) -> None:
        if self._callback:
            self._callback({"i": i, "sigma": sigma, "x": x, "denoised": denoised})


def sample_euler(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Euler's method (arXiv:2206.00364, algorithm 1 without the correction)."""
    steps = _Steps(model, x, extra_args, callback)
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        x = x + derivative(x, sigmas[i], denoised) * (sigmas[i + 1] - sigmas[i])
    return x


def sample_euler_ancestral(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 1.0,
) -> Tensor:
    """Euler's method with fresh noise after each step."""
    steps = _Steps(model, x, extra_args, callback)
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        x = x + derivative(x, sigmas[i], denoised) * (down - sigmas[i])
        x = _add_noise(x, noise_sampler, sigmas[i], sigmas[i + 1], up)
    return x


def sample_heun(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Heun's second-order method (arXiv:2206.00364, algorithm 1)."""
    steps = _Steps(model, x, extra_args, callback)
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        d = derivative(x, sigmas[i], denoised)
        dt = sigmas[i + 1] - sigmas[i]
        if sigmas[i + 1] == 0:
            x = x + d * dt
        else:
            x_2 = x + d * dt
            d_2 = derivative(x_2, sigmas[i + 1], steps.denoise(x_2, sigmas[i + 1]))
            x = x + (d + d_2) / 2 * dt
    return x


def sample_dpm_2(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Midpoint method in log sigma (DPM-Solver-2, arXiv:2206.00927)."""
    return _midpoint(model, x, sigmas, extra_args, callback, noise_sampler, eta=0.0)


def sample_dpm_2_ancestral(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 1.0,
) -> Tensor:
    """DPM-Solver-2 with fresh noise after each step."""
    return _midpoint(model, x, sigmas, extra_args, callback, noise_sampler, eta=eta)


def _midpoint(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra,
    callback: Callback | None,
    noise_sampler: NoiseSampler | None,
    *,
    eta: float,
) -> Tensor:
    steps = _Steps(model, x, extra_args, callback)
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], eta) if eta else (sigmas[i + 1], sigmas.new_zeros(()))
        d = derivative(x, sigmas[i], denoised)
        if down == 0:
            x = x + d * (down - sigmas[i])
        else:
            middle = sigmas[i].log().lerp(down.log(), 0.5).exp()
            x_2 = x + d * (middle - sigmas[i])
            x = x + derivative(x_2, middle, steps.denoise(x_2, middle)) * (down - sigmas[i])
            x = _add_noise(x, noise_sampler, sigmas[i], sigmas[i + 1], up)
    return x


def sample_dpmpp_2s_ancestral(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 1.0,
) -> Tensor:
    """DPM-Solver++(2S) (arXiv:2211.01095, algorithm 1) with fresh noise after each step; lambda = -log sigma, r = 1/2."""
    steps = _Steps(model, x, extra_args, callback)
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        if down == 0:
            x = x + derivative(x, sigmas[i], denoised) * (down - sigmas[i])
        else:
            t, t_next = -sigmas[i].log(), -down.log()
            h = t_next - t
            s = t + h / 2
            x_2 = (-s).exp() / (-t).exp() * x - (-h / 2).expm1() * denoised
            denoised_2 = steps.denoise(x_2, (-s).exp())
            x = (-t_next).exp() / (-t).exp() * x - (-h).expm1() * denoised_2
        x = _add_noise(x, noise_sampler, sigmas[i], sigmas[i + 1], up)
    return x


def sample_dpmpp_2m(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """DPM-Solver++(2M) (arXiv:2211.01095, algorithm 2), lambda = -log sigma."""
    steps = _Steps(model, x, extra_args, callback)
    old_denoised, h_last = None, None
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        h = sigmas[i].log() - sigmas[i + 1].log()
        if old_denoised is None or h_last is None or sigmas[i + 1] == 0:
            d = denoised
        else:
            r = h_last / h
            d = (1 + 1 / (2 * r)) * denoised - (1 / (2 * r)) * old_denoised
        x = sigmas[i + 1] / sigmas[i] * x - (-h).expm1() * d
        old_denoised, h_last = denoised, h
    return x


def _add_noise(x: Tensor, noise_sampler: NoiseSampler | None, sigma: Tensor, sigma_next: Tensor, up: Tensor) -> Tensor:
    """x plus noise of level `up`; none is drawn on the way to sigma 0."""
    if sigma_next == 0 or up == 0:
        return x
    noise = noise_sampler(sigma, sigma_next) if noise_sampler else torch.randn_like(x)
    return x + noise * up
