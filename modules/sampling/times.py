"""Levels that samplers choose themselves, where A1111's walk in the model's times instead of a schedule's sigmas."""

import math

import torch
from torch import Tensor

from modules.sampling.denoiser import TRAIN_STEPS, NoiseLevels


def ddim_levels(n: int, levels: NoiseLevels) -> Tensor:
    """Levels of every (1000/n)-th time, one up, falling: about n steps, the last to time 1 and not to 0. float32, CPU.

    Where n divides 1000 there are n levels and so n - 1 steps, as in A1111; n = 1 goes all the way in one step.
    """
    times = ddim_times(n)
    if n == 1:
        times.append(TRAIN_STEPS - 1)
    return levels.sigmas.cpu()[torch.tensor(times[::-1])]


def ddim_times(n: int) -> list[int]:
    """Every (1000/n)-th time, one up, rising."""
    return [min(t + 1, TRAIN_STEPS - 1) for t in range(0, TRAIN_STEPS, TRAIN_STEPS // n)]


def unipc_levels(
    n: int, levels: NoiseLevels, skip_type: str = "time_uniform", *, begin: float = 1.0, steps: int | None = None
) -> Tensor:
    """Levels of UniPC's continuous times from `begin` to 1/1000, as many `steps` as DDIM has levels. float32, CPU.

    `skip_type`: steps equal in time, in its root ("time_quadratic") or in lambda ("logSNR"). Between trained times
    log sqrt(a_t) is linear, not log sigma (DPM-Solver's discrete schedule, arXiv:2206.00927, appendix D.4).
    """
    steps = len(ddim_times(n)) if steps is None else steps
    log_alphas = levels.alphas_cumprod.cpu().double().log() / 2
    trained = torch.arange(1, TRAIN_STEPS + 1, dtype=torch.float64) / TRAIN_STEPS
    if skip_type == "logSNR":
        lambdas = log_alphas - (1 - (2 * log_alphas).exp()).log() / 2  # falling with time
        top = _interpolate(torch.tensor([begin], dtype=torch.float64), trained, lambdas)
        times = _interpolate(
            torch.linspace(top.item(), lambdas[0].item(), steps + 1, dtype=torch.float64),
            lambdas.flip(0),
            trained.flip(0),
        )
    elif skip_type == "time_quadratic":
        times = torch.linspace(begin**0.5, TRAIN_STEPS**-0.5, steps + 1, dtype=torch.float64) ** 2
    else:
        times = torch.linspace(begin, 1 / TRAIN_STEPS, steps + 1, dtype=torch.float64)
    return (-2 * _interpolate(times, trained, log_alphas)).expm1().sqrt().float()


def span_levels(n: int, levels: NoiseLevels) -> Tensor:
    """n + 1 levels equal in log sigma from the model's highest to its lowest, no 0. float32, CPU."""
    return torch.linspace(math.log(levels.sigma_max), math.log(levels.sigma_min), n + 1).exp()


def _interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear through (xs, ys), xs rising; the outer pieces go on beyond the ends."""
    i = torch.searchsorted(xs, x).clamp(1, len(xs) - 1)
    w = (x - xs[i - 1]) / (xs[i] - xs[i - 1])
    return ys[i - 1] + w * (ys[i] - ys[i - 1])
