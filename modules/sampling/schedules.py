"""Noise schedules: n steps -> sigmas (n + 1,), falling, the last one 0. Names and numbers as in A1111."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modules.core.registry import Registry
from modules.requests.catalogue import ScheduleEntry
from modules.sampling.denoiser import NoiseLevels

MakeSigmas = Callable[[int, NoiseLevels], Tensor]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule and how users see it."""

    entry: ScheduleEntry
    sigmas: MakeSigmas


def _closed(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas.float(), torch.zeros(1)])


def uniform(n: int, levels: NoiseLevels) -> Tensor:
    """Equal steps in the model's time, from the last to the first (k-diffusion's `get_sigmas`)."""
    return _closed(levels.sigma(torch.linspace(len(levels.sigmas) - 1, 0, n)))


def karras(n: int, levels: NoiseLevels, rho: float = 7.0) -> Tensor:
    """sigma_i = (sigma_max^(1/rho) + i/(n-1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho (arXiv:2206.00364, eq. 5)."""
    ramp = torch.linspace(0, 1, n)
    low, high = levels.sigma_min ** (1 / rho), levels.sigma_max ** (1 / rho)
    return _closed((high + ramp * (low - high)) ** rho)


def exponential(n: int, levels: NoiseLevels) -> Tensor:
    """Equal steps in log sigma."""
    return _closed(torch.linspace(math.log(levels.sigma_max), math.log(levels.sigma_min), n).exp())


def polyexponential(n: int, levels: NoiseLevels, rho: float = 1.0) -> Tensor:
    """Steps in log sigma along a ramp raised to rho."""
    ramp = torch.linspace(1, 0, n) ** rho
    return _closed(
        (ramp * (math.log(levels.sigma_max) - math.log(levels.sigma_min)) + math.log(levels.sigma_min)).exp()
    )


def sgm_uniform(n: int, levels: NoiseLevels) -> Tensor:
    """Equal steps in time that stop one step short of the end (Stability's generative-models)."""
    start, end = levels.t(torch.tensor(levels.sigma_max)), levels.t(torch.tensor(levels.sigma_min))
    return _closed(levels.sigma(torch.linspace(start.item(), end.item(), n + 1)[:-1]))


def simple(n: int, levels: NoiseLevels) -> Tensor:
    """Every (1000/n)-th trained level, from the top."""
    step = len(levels.sigmas) / n
    return _closed(torch.stack([levels.sigmas[-(1 + int(i * step))] for i in range(n)]))


def normal(n: int, levels: NoiseLevels) -> Tensor:
    """Equal steps in time between the levels' ends."""
    start, end = levels.t(torch.tensor(levels.sigma_max)), levels.t(torch.tensor(levels.sigma_min))
    return _closed(levels.sigma(torch.linspace(start.item(), end.item(), n)))


def ddim(n: int, levels: NoiseLevels) -> Tensor:
    """Every (1000/n)-th trained level from the second on, as DDIM spaces its steps (arXiv:2010.02502, appendix D.2)."""
    step = max(len(levels.sigmas) // n, 1)
    chosen = [levels.sigmas[t] for t in range(1, len(levels.sigmas), step)]
    return _closed(torch.stack(chosen[::-1]))


def beta(n: int, levels: NoiseLevels, a: float = 0.6, b: float = 0.6) -> Tensor:
    """Quantiles of a Beta distribution over the model's time ("Beta Sampling is All You Need", arXiv:2407.12173)."""
    from scipy import stats  # half a second to import, and only this schedule needs it

    times = 1 - np.linspace(0, 1, n)
    quantiles = torch.tensor(stats.beta.ppf(times, a, b), dtype=torch.float64)
    return _closed((levels.sigma_min + quantiles * (levels.sigma_max - levels.sigma_min)).float())


def build_schedules() -> Registry[Schedule]:
    """All schedules in the order users see them; Automatic is the sampler's own choice, Uniform if it has none."""
    registry: Registry[Schedule] = Registry("scheduler")
    rows: tuple[tuple[str, str, MakeSigmas, float, bool, tuple[str, ...]], ...] = (
        ("automatic", "Automatic", uniform, -1, False, ()),
        ("uniform", "Uniform", uniform, -1, True, ()),
        ("karras", "Karras", karras, 7.0, False, ()),
        ("exponential", "Exponential", exponential, -1, False, ()),
        ("polyexponential", "Polyexponential", polyexponential, 1.0, False, ()),
        ("sgm_uniform", "SGM Uniform", sgm_uniform, -1, True, ("SGMUniform",)),
        ("simple", "Simple", simple, -1, True, ()),
        ("normal", "Normal", normal, -1, True, ()),
        ("ddim", "DDIM", ddim, -1, True, ()),
        ("beta", "Beta", beta, -1, True, ()),
    )
    for name, label, sigmas, rho, inner, aliases in rows:
        entry = ScheduleEntry(name=name, label=label, aliases=aliases, default_rho=rho, need_inner_model=inner)
        also = [key for key in (name, *aliases) if key.casefold() != label.casefold()]
        registry.add(label, Schedule(entry=entry, sigmas=sigmas), also)
    return registry.freeze()
