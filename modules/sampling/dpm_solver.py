"""DPM-Solver (Lu et al. 2022, arXiv:2206.00927) in lambda = -log sigma: fixed steps, a fixed budget, and adaptive steps."""

import math

import torch
from torch import Tensor

from modules.sampling.denoiser import Denoiser
from modules.sampling.euler import churn
from modules.sampling.steps import Callback, Extra, NoiseSampler, Steps, ancestral_step, derivative


def sample_dpm_2(
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
    """DPM-Solver-2 (algorithm 1, r = 1/2) on x itself: a midpoint step with the middle in log sigma."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    for i in range(len(sigmas) - 1):
        x, sigma = churn(x, sigmas, i, steps, s_churn, s_tmin, s_tmax, s_noise)
        denoised = steps.denoise(x, sigma)
        steps.report(i, sigma, x, denoised)
        x = _midpoint(steps, x, denoised, sigma, sigmas[i + 1])
    return x


def sample_dpm_2_ancestral(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """The same with fresh noise after each step."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        x = _midpoint(steps, x, denoised, sigmas[i], down)
        if up > 0:
            x = x + steps.noise(sigmas[i], sigmas[i + 1]) * s_noise * up
    return x


def _midpoint(steps: Steps, x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """One step, Euler's into sigma 0."""
    d = derivative(x, sigma, denoised)
    if sigma_next == 0:
        return x + d * (sigma_next - sigma)
    middle = sigma.log().lerp(sigma_next.log(), 0.5).exp()
    x_2 = x + d * (middle - sigma)
    return x + derivative(x_2, middle, steps.denoise(x_2, middle)) * (sigma_next - sigma)


class _Exponential:
    """Steps of orders 1 to 3 from t to t_next, t = -log sigma; slopes eps = (x - D) / sigma are kept for one start."""

    def __init__(self, steps: Steps, x: Tensor, t: Tensor) -> None:
        self._steps, self._x, self._t = steps, x, t
        self.denoised = steps.denoise(x, (-t).exp())
        self._eps = derivative(x, (-t).exp(), self.denoised)
        self._at: dict[float, Tensor] = {}

    def first(self, t_next: Tensor) -> Tensor:
        """Eq. 3.7: x - sigma' (e^h - 1) eps."""
        return self._x - (-t_next).exp() * (t_next - self._t).expm1() * self._eps

    def second(self, t_next: Tensor, r: float = 1 / 2) -> Tensor:
        """Algorithm 1."""
        h = t_next - self._t
        change = (self._inner(r, h) - self._eps) / (2 * r)
        return self.first(t_next) - (-t_next).exp() * h.expm1() * change

    def third(self, t_next: Tensor, r_1: float = 1 / 3, r_2: float = 2 / 3) -> Tensor:
        """Algorithm 2."""
        h = t_next - self._t
        s = self._t + r_2 * h
        d_1 = self._inner(r_1, h) - self._eps
        bend = (r_2 * h).expm1() / (r_2 * h) - 1
        u = self.first(s) - (-s).exp() * (r_2 / r_1) * bend * d_1
        d_2 = derivative(u, (-s).exp(), self._steps.denoise(u, (-s).exp())) - self._eps
        return self.first(t_next) - (-t_next).exp() / r_2 * (h.expm1() / h - 1) * d_2

    def _inner(self, r: float, h: Tensor) -> Tensor:
        """eps at t + r h, after a first-order step there."""
        if r not in self._at:
            s = self._t + r * h
            u = self.first(s)
            self._at[r] = derivative(u, (-s).exp(), self._steps.denoise(u, (-s).exp()))
        return self._at[r]


def _target(t: Tensor, t_next: Tensor, t_end: Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """(where a step with noise goes in t, the noise added there)."""
    if not eta:
        return t_next, torch.zeros_like(t)
    down, _ = ancestral_step((-t).exp(), (-t_next).exp(), eta)
    target = torch.minimum(t_end, -down.log())
    return target, ((-2 * t_next).exp() - (-2 * target).exp()).clamp(min=0).sqrt()


def sample_dpm_fast(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 0.0,
    s_noise: float = 1.0,
) -> Tensor:
    """DPM-Solver-fast (section 3.4): from sigmas[0] to the last level above 0 with n evaluations, n = len(sigmas) - 1,
    in steps of third order as far as n goes; levels between are its own."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    n = len(sigmas) - 1
    orders = [3] * (n // 3 - 1) + [2, 1] if n % 3 == 0 else [3] * (n // 3) + [n % 3]
    start, end = -sigmas[0].log(), -sigmas[sigmas > 0][-1].log()
    ts = torch.linspace(start.item(), end.item(), len(orders) + 1, device=sigmas.device, dtype=sigmas.dtype)
    for i, order in enumerate(orders):
        step = _Exponential(steps, x, ts[i])
        steps.report(i, (-ts[i]).exp(), x, step.denoised)
        target, up = _target(ts[i], ts[i + 1], ts[-1], eta)
        x = (step.first, step.second, step.third)[order - 1](target)
        if eta:
            x = x + up * s_noise * steps.noise((-ts[i]).exp(), (-ts[i + 1]).exp())
    return x


def sample_dpm_adaptive(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 0.0,
    s_noise: float = 1.0,
    rtol: float = 0.05,
    atol: float = 0.0078,
    h: float = 0.05,
    limit: int = 1000,
) -> Tensor:
    """DPM-Solver-12/23's adaptive steps (appendix C): from sigmas[0] to the last level above 0, orders 2 and 3 side by side,
    the step scaled by 1 + atan(error^(-1/p) - 1) and taken again below 0.81; p is 3, and 3/2 with noise, as in k-diffusion.
    At most `limit` tries, each one a report.
    The error is that of the whole batch, as in A1111, so that a picture depends a little on those beside it."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    t, t_end = -sigmas[0].log(), -sigmas[sigmas > 0][-1].log()
    x_last = x
    for i in range(limit):
        if t >= t_end - 1e-5:
            break
        t_next = torch.minimum(t_end, t + h)
        target, up = _target(t, t_next, t_end, eta)
        step = _Exponential(steps, x, t)
        low, high = step.second(target, r=1 / 3), step.third(target)
        tolerance = torch.maximum(torch.full_like(x, atol), rtol * torch.maximum(low.abs(), x_last.abs()))
        error = (((low - high) / tolerance).norm() / x.numel() ** 0.5).item()
        factor = 1 + math.atan((error + 1e-8) ** (-1 / (1.5 if eta else 3)) - 1)
        steps.report(i, (-t).exp(), x, step.denoised)
        if factor >= 0.81:
            x_last = low
            x = high + up * s_noise * steps.noise((-t).exp(), (-t_next).exp()) if eta else high
            t = t_next
        h *= factor
    return x
