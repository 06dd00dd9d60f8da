"""First- and second-order steps in sigma (Karras et al. 2022, arXiv:2206.00364), and DDIM, which is Euler's in these terms.

All samplers: `sample(model, x, sigmas, extra_args=None, callback=None, noise_sampler=None, **options)`; x (B, C, H, W) at
noise level sigmas[0], sigmas (n + 1,) falling; returns the latents at sigmas[-1], usually 0. `callback` gets
{i, sigma, x, denoised} once a step; `noise_sampler(sigma, sigma_next)` draws as many standard normals as x has.
"""

import math

from torch import Tensor

from modules.sampling.denoiser import Denoiser
from modules.sampling.steps import Callback, Extra, NoiseSampler, Steps, ancestral_step, derivative, preserving


def churn(
    x: Tensor, sigmas: Tensor, i: int, steps: Steps, s_churn: float, s_tmin: float, s_tmax: float, s_noise: float
) -> tuple[Tensor, Tensor]:
    """(x, sigma_hat) after step i's fresh noise (algorithm 2, lines 4-6).

    With churn asked for, every step draws, whether it lies within [s_tmin, s_tmax] or not, as in k-diffusion.
    """
    if s_churn <= 0:
        return x, sigmas[i]
    eps = steps.noise(sigmas[i], sigmas[i + 1]) * s_noise
    if not s_tmin <= sigmas[i] <= s_tmax:
        return x, sigmas[i]
    sigma_hat = sigmas[i] * (1 + min(s_churn / (len(sigmas) - 1), math.sqrt(2) - 1))
    return x + eps * (sigma_hat**2 - sigmas[i] ** 2).sqrt(), sigma_hat


def sample_euler(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Tensor:
    """Euler's method (algorithm 2 without the correction)."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    for i in range(len(sigmas) - 1):
        x, sigma = churn(x, sigmas, i, steps, s_churn, s_tmin, s_tmax, s_noise)
        denoised = steps.denoise(x, sigma)
        steps.report(i, sigma, x, denoised)
        x = x + derivative(x, sigma, denoised) * (sigmas[i + 1] - sigma)
    return x


def sample_heun(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Tensor:
    """Heun's second-order method (algorithm 2)."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    for i in range(len(sigmas) - 1):
        x, sigma = churn(x, sigmas, i, steps, s_churn, s_tmin, s_tmax, s_noise)
        denoised = steps.denoise(x, sigma)
        steps.report(i, sigma, x, denoised)
        x = heun_step(steps, x, denoised, sigma, sigmas[i + 1])
    return x


def heun_step(steps: Steps, x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """One step of Heun's method, Euler's into sigma 0."""
    d, dt = derivative(x, sigma, denoised), sigma_next - sigma
    if sigma_next == 0:
        return x + d * dt
    x_2 = x + d * dt
    d_2 = derivative(x_2, sigma_next, steps.denoise(x_2, sigma_next))
    return x + (d + d_2) / 2 * dt


def sample_heunpp2(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Heun++: slopes here, one and two steps on, weighted by their sigma over that of the start (Carzit's HeunPP2)."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    last = len(sigmas) - 1
    for i in range(last):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        slopes = [derivative(x, sigmas[i], denoised)]
        x_k = x
        for k in range(i + 1, min(i + 3, last)):
            x_k = x_k + slopes[-1] * (sigmas[k] - sigmas[k - 1])
            slopes.append(derivative(x_k, sigmas[k], steps.denoise(x_k, sigmas[k])))
        weights = [sigmas[i + k] / (len(slopes) * sigmas[0]) for k in range(1, len(slopes))]
        d = slopes[0] * (1 - sum(weights)) + sum(w * slope for w, slope in zip(weights, slopes[1:], strict=True))
        x = x + d * (sigmas[i + 1] - sigmas[i])
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
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        x = x + derivative(x, sigmas[i], denoised) * (down - sigmas[i])
        if up > 0:
            x = x + steps.noise(sigmas[i], sigmas[i + 1]) * up
    return x


def sample_ddim(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 0.0,
) -> Tensor:
    """DDIM (arXiv:2010.02502, eq. 12 and 16): divided by sqrt(a_t), its step is Euler's and its sigma(eta) the ancestral one.

    Made for sigmas that end above 0; what is left there is returned at the network's own scale.
    """
    x = sample_euler_ancestral(model, x, sigmas, extra_args, callback, noise_sampler, eta=eta)
    return preserving(x, sigmas[-1])


def sample_ddpm(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Ancestral sampling of DDPM (arXiv:2006.11239, algorithm 2, with the posterior's variance of eq. 7): DDIM at eta 1."""
    return sample_euler_ancestral(model, x, sigmas, extra_args, callback, noise_sampler, eta=1.0)


def sample_lcm(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Multistep consistency sampling (arXiv:2303.01469, algorithm 1): denoise whole, add noise of the next level."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        x = denoised
        if sigmas[i + 1] > 0:
            x = x + sigmas[i + 1] * steps.noise(sigmas[i], sigmas[i + 1])
    return x


def sample_restart(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Restart sampling (arXiv:2306.14878, algorithm 2) with Heun steps: from sigma 0.1 back up to 2 and down again.

    Under 20 steps it does not restart; from 20 on, 9 of the steps make one restart, from 36 on, half of them two, and the
    levels are Karras's between the ends of `sigmas`. The reports' `sigma` is the level a step goes to.
    """
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    level = None
    for i, (sigma, sigma_next) in enumerate(restart_intervals(sigmas)):
        if level is not None and level < sigma:
            x = x + steps.noise(level, sigma) * (sigma**2 - level**2).sqrt()
        denoised = steps.denoise(x, sigma)
        steps.report(i, sigma_next, x, denoised)
        x = heun_step(steps, x, denoised, sigma, sigma_next)
        level = sigma_next
    return x


def restart_intervals(sigmas: Tensor, low: float = 0.1, high: float = 2.0) -> list[tuple[Tensor, Tensor]]:
    """The steps (sigma, sigma_next) in their order; where a step begins above the end of the last one, noise is added."""
    from modules.sampling.schedules import karras_between

    n, times, restart = len(sigmas) - 1, 1, 9
    if n < 20:
        return list(zip(sigmas[:-1], sigmas[1:], strict=True))
    if n >= 36:
        times, restart = 2, n // 4
    levels = karras_between(n - restart * times, sigmas[-2].item(), sigmas[0].item()).to(sigmas)
    levels = levels.new_tensor([*levels.tolist(), 0.0])
    bottom, top = (int((levels - level).abs().argmin()) for level in (low, high))
    intervals = []
    for i in range(len(levels) - 1):
        intervals.append((levels[i], levels[i + 1]))
        if i + 1 == bottom and top < bottom:
            again = karras_between(restart + 1, levels[bottom].item(), levels[top].item()).to(sigmas)
            intervals += list(zip(again[:-1], again[1:], strict=True)) * times
    return intervals
