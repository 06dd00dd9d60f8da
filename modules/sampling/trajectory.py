"""Sampling with models distilled into trajectory consistency functions (TCD, arXiv:2402.19159; also Hyper-SD's)."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from modules.sampling.denoiser import Denoiser, NoiseLevels
from modules.sampling.steps import Callback, Extra, NoiseSampler, Steps, derivative

Between = Callable[[Tensor, float], Tensor]
"""The level at time (1 - gamma) t, of the level at t and gamma."""


def sample_tcd(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 0.3,
    between: Between | None = None,
) -> Tensor:
    """Strategic stochastic sampling (algorithm 4): from t straight to s = (1 - gamma) t', below the next time t', then noise up to it.

    `eta` is gamma: 0 is DDIM, 1 is LCM's way. `between`: as Between; without it times are those of a flow.
    """
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    between = between or flow_between
    last = len(sigmas) - 2
    for i in range(len(sigmas) - 1):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]
        denoised = steps.denoise(x, sigma)
        steps.report(i, sigma, x, denoised)
        level = between(sigma_next, eta).clamp(max=sigma_next) if sigma_next > 0 else sigma_next
        x = denoised + derivative(x, sigma, denoised) * level
        if eta > 0 and i < last and sigma_next > 0:
            x = x + steps.noise(sigma, sigma_next) * (sigma_next**2 - level**2).sqrt()
    return x


def flow_between(sigma: Tensor, gamma: float) -> Tensor:
    """Times are t = sigma / (1 + sigma), as in a flow."""
    t = (1 - gamma) * sigma / (1 + sigma)
    return t / (1 - t)


def between_of(levels: NoiseLevels) -> Between:
    """Times are those of a model with these levels."""
    return partial(_between, levels)


def _between(levels: NoiseLevels, sigma: Tensor, gamma: float) -> Tensor:
    if not gamma:
        return sigma
    return levels.sigma((1 - gamma) * levels.t(sigma.to(levels.sigmas))).to(sigma)
