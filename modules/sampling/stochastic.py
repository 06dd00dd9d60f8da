"""SDE solvers that follow the noise within a step: ER-SDE (arXiv:2309.06169) and SEEDS (arXiv:2305.14267)."""

import torch
from torch import Tensor

from modules.sampling.denoiser import Denoiser
from modules.sampling.steps import Callback, Extra, NoiseSampler, Steps


def sample_er_sde(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    s_noise: float = 1.0,
    points: int = 200,
) -> Tensor:
    """VE ER-SDE-Solver-3 (algorithm 4) with phi(s) = s (e^(s^0.3) + 10), its integrals as sums over `points`."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)

    def phi(s: Tensor) -> Tensor:
        return s * ((s**0.3).exp() + 10)

    old: tuple[Tensor, Tensor | None] | None = None  # (D, its slope in sigma) of the last step
    for i in range(len(sigmas) - 1):
        s, t = sigmas[i], sigmas[i + 1]
        denoised = steps.denoise(x, s)
        steps.report(i, s, x, denoised)
        if t == 0:
            return denoised
        r, dt, slope = phi(t) / phi(s), t - s, None
        x = r * x + (1 - r) * denoised
        if old is not None:
            width = -dt / points
            nodes = t + width * torch.arange(points, device=x.device)
            slope = (denoised - old[0]) / (s - sigmas[i - 1])
            x = x + (dt + phi(t) * (width / phi(nodes)).sum()) * slope
            if old[1] is not None:
                bend = (slope - old[1]) / ((s - sigmas[i - 2]) / 2)
                x = x + (dt**2 / 2 + phi(t) * ((nodes - s) * width / phi(nodes)).sum()) * bend
        x = x + steps.noise(s, t) * s_noise * (t**2 - (s * r) ** 2).clamp(min=0).sqrt()
        old = (denoised, slope)
    return x


class _Bridge:
    """Noise that follows one path through the stages of a step, in units of sigma: variance 1 - e^(-2 eta (lambda - lambda_0))."""

    def __init__(self, steps: Steps, sigma: Tensor, eta: float, s_noise: float) -> None:
        self._steps, self._sigma, self._eta, self._s_noise = steps, sigma, eta, s_noise
        self._value: Tensor | float = 0.0

    def to(self, sigma: Tensor) -> Tensor | float:
        """The noise at `sigma`, later than all asked before."""
        if not self._eta:
            return 0.0
        span = self._eta * (self._sigma.log() - sigma.log())
        fresh = self._steps.noise(self._sigma, sigma) * (-(-2 * span).expm1()).sqrt()
        self._value, self._sigma = self._value * (-span).exp() + fresh, sigma
        return self._value * sigma * self._s_noise


def _drift(x: Tensor, sigma: Tensor, target: Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """(the part of x that stays, k = (1 + eta) (lambda' - lambda))."""
    h = sigma.log() - target.log()
    return target / sigma * (-eta * h).exp() * x, (1 + eta) * h


def sample_seeds_2(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    r: float = 0.5,
) -> Tensor:
    """SEEDS-2 in data prediction: a stage at r of the step in lambda."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        if sigmas[i + 1] == 0:
            return denoised
        noise = _Bridge(steps, sigmas[i], eta, s_noise)
        middle = sigmas[i].log().lerp(sigmas[i + 1].log(), r).exp()
        stays, k = _drift(x, sigmas[i], middle, eta)
        denoised_2 = steps.denoise(stays - (-k).expm1() * denoised + noise.to(middle), middle)
        stays, k = _drift(x, sigmas[i], sigmas[i + 1], eta)
        x = stays - (-k).expm1() * denoised.lerp(denoised_2, 1 / (2 * r)) + noise.to(sigmas[i + 1])
    return x


def sample_seeds_3(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    r_1: float = 1 / 3,
    r_2: float = 2 / 3,
) -> Tensor:
    """SEEDS-3 in data prediction: stages at r_1 and r_2 of the step in lambda."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    for i in range(len(sigmas) - 1):
        start, end = sigmas[i], sigmas[i + 1]
        denoised = steps.denoise(x, start)
        steps.report(i, start, x, denoised)
        if end == 0:
            return denoised
        noise = _Bridge(steps, start, eta, s_noise)
        level_1, level_2 = (start.log().lerp(end.log(), r).exp() for r in (r_1, r_2))
        stays, k = _drift(x, start, level_1, eta)
        denoised_2 = steps.denoise(stays - (-k).expm1() * denoised + noise.to(level_1), level_1)
        for level, share in ((level_2, r_2 / r_1), (end, 1 / r_2)):
            stays, k = _drift(x, start, level, eta)
            weight = share * (1 + (-k).expm1() / k)  # of the change since the start
            value = stays - (-k).expm1() * denoised + weight * (denoised_2 - denoised) + noise.to(level)
            if level is level_2:
                denoised_2 = steps.denoise(value, level)
        x = value
    return x
