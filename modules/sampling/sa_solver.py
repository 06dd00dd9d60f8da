"""SA-Solver (Xue et al. 2023, arXiv:2309.05019): stochastic Adams steps in lambda = -log sigma."""

import math

import numpy as np
import torch
from torch import Tensor

from modules.sampling.denoiser import Denoiser
from modules.sampling.steps import Callback, Extra, NoiseSampler, Steps


def sample_sa_solver(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    predictor: int = 3,
    corrector: int = 4,
    noisy: tuple[float, float] = (5.0924, 0.5712),
    again: bool = False,
) -> Tensor:
    """SA-Solver (algorithm 1): Adams predictor and corrector in lambda; tau = eta for steps that end within the
    sigmas `noisy` (by default those of times 0.8 and 0.2 of Stable Diffusion).

    `again`: ask the model once more after correcting (PECE).
    """
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    n = len(sigmas) - 1
    lambdas = [-math.log(s) if s > 0 else math.inf for s in sigmas.tolist()]
    values: list[Tensor] = []  # oldest first
    predicted, noise, tau = x, torch.zeros_like(x), 0.0
    for i in range(n):
        denoised = steps.denoise(predicted, sigmas[i])
        steps.report(i, sigmas[i], predicted, denoised)
        values = [*values, denoised][-max(predictor, corrector) :]
        final = sigmas[i + 1] == 0
        order = min(corrector, len(values), n - i if sigmas[-1] == 0 else corrector)
        if i == 0 or (final and not again):
            x = predicted
        else:
            x = _adams(x, values, lambdas[: i + 1], lambdas[i - 1], lambdas[i], tau, order) + noise
            if again:
                values[-1] = denoised = steps.denoise(x, sigmas[i])
        if final:
            return denoised
        tau = eta if noisy[0] >= sigmas[i + 1] >= noisy[1] else 0.0
        order = min(predictor, len(values), n - 1 - i if sigmas[-1] == 0 else predictor)
        predicted = _adams(x, values, lambdas[: i + 1], lambdas[i], lambdas[i + 1], tau, order)
        if tau:
            spread = math.sqrt(-math.expm1(-2 * tau**2 * (lambdas[i + 1] - lambdas[i])))
            noise = steps.noise(sigmas[i], sigmas[i + 1]) * sigmas[i + 1] * spread * s_noise
            predicted = predicted + noise
        else:
            noise = torch.zeros_like(x)
    return predicted


def sample_sa_solver_pece(
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
    """SA-Solver with a second evaluation after each correction."""
    return sample_sa_solver(model, x, sigmas, extra_args, callback, noise_sampler, eta=eta, s_noise=s_noise, again=True)


def _adams(
    x: Tensor, values: list[Tensor], lambdas: list[float], start: float, end: float, tau: float, order: int
) -> Tensor:
    """x from start to end in lambda: (1 + tau^2) times the integral of e^((1 + tau^2)(lambda - end)) times the polynomial
    through the last values (eq. 13 and 17), by Gauss's quadrature."""
    k = 1 + tau**2
    nodes, weights = np.polynomial.legendre.leggauss(24)
    half = (end - start) / 2
    at = start + half * (nodes + 1)
    measure = weights * half * k * np.exp(k * (at - end))
    times = np.array(lambdas[-order:])
    result = math.exp(-k * (end - start)) * x
    for j, value in enumerate(values[-order:]):
        others = np.delete(times, j)
        basis = np.prod((at[:, None] - others) / (times[j] - others), axis=1)
        result = result + float((measure * basis).sum()) * value
    return result
