"""Noise schedules: n steps -> sigmas (n + 1,), falling, the last one 0 (KL Optimal's aside). Names and numbers as in A1111."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modules.core.registry import Registry
from modules.requests.catalogue import ScheduleEntry
from modules.sampling.denoiser import NoiseLevels


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """What a user may change of schedules; 0 leaves a bound or rho as the model or the schedule has it.

    `table`: which family's Align Your Steps, "sd1" or "sdxl". `alpha`, `beta`: of the Beta distribution.
    """

    sigma_min: float = 0.0
    sigma_max: float = 0.0
    rho: float = 0.0
    alpha: float = 0.6
    beta: float = 0.6
    table: str = "sd1"

    def bounds(self, levels: NoiseLevels) -> tuple[float, float]:
        """(sigma_min, sigma_max)."""
        return self.sigma_min or levels.sigma_min, self.sigma_max or levels.sigma_max


DEFAULT = ScheduleOptions()
MakeSigmas = Callable[[int, NoiseLevels, ScheduleOptions], Tensor]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule and how users see it."""

    entry: ScheduleEntry
    make: MakeSigmas

    def sigmas(self, n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
        """The noise levels of n steps, float32 on the CPU."""
        return self.make(n, levels, options)


def _closed(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas.float().cpu(), torch.zeros(1)])


def _ends(levels: NoiseLevels, options: ScheduleOptions) -> tuple[float, float]:
    """The model's times of the highest and of the lowest level."""
    low, high = options.bounds(levels)
    return levels.t(torch.tensor(high)).item(), levels.t(torch.tensor(low)).item()


def uniform(n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
    """Equal steps in the model's time, from the last to the first (k-diffusion's `get_sigmas`)."""
    start, end = _ends(levels, DEFAULT)
    return _closed(levels.sigma(torch.linspace(start, end, n)))


def karras(n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
    """sigma_i = (sigma_max^(1/rho) + i/(n-1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho (arXiv:2206.00364, eq. 5)."""
    low, high = options.bounds(levels)
    return _closed(karras_between(n, low, high, options.rho or 7.0))


def karras_between(n: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """The same between any two levels, (n,), without the 0 at the end."""
    ramp = torch.linspace(0, 1, n)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return (high + ramp * (low - high)) ** rho


def exponential(n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
    """Equal steps in log sigma."""
    low, high = options.bounds(levels)
    return _closed(torch.linspace(math.log(high), math.log(low), n).exp())


def polyexponential(n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
    """Steps in log sigma along a ramp raised to rho."""
    low, high = options.bounds(levels)
    ramp = torch.linspace(1, 0, n) ** (options.rho or 1.0)
    return _closed((ramp * (math.log(high) - math.log(low)) + math.log(low)).exp())


def sgm_uniform(n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
    """Equal steps in time that stop one step short of the end (Stability's generative-models)."""
    start, end = _ends(levels, options)
    return _closed(levels.sigma(torch.linspace(start, end, n + 1)[:-1]))


def kl_optimal(n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
    """Equal steps in arctan sigma down to sigma_min, not to 0 (arXiv:2404.14507, eq. 18)."""
    low, high = options.bounds(levels)
    ramp = torch.arange(n + 1) / n
    return (ramp * math.atan(low) + (1 - ramp) * math.atan(high)).tan()


def kl_optimal_plain(n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
    """As ComfyUI has it: n levels down to sigma_min, and then 0."""
    return _closed(kl_optimal(n - 1, levels, options)) if n > 1 else _closed(kl_optimal(1, levels, options)[:1])


def simple(n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
    """Every (1000/n)-th trained level, from the top."""
    step = len(levels.sigmas) / n
    return _closed(torch.stack([levels.sigmas[-(1 + int(i * step))] for i in range(n)]))


def normal(n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
    """Equal steps in time between the levels' ends."""
    start, end = _ends(levels, options)
    return _closed(levels.sigma(torch.linspace(start, end, n)))


def ddim(n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
    """Every (1000/n)-th trained level from the second on, as DDIM spaces its steps (arXiv:2010.02502, appendix D.2)."""
    step = max(len(levels.sigmas) // n, 1)
    chosen = [levels.sigmas[t] for t in range(1, len(levels.sigmas), step)]
    return _closed(torch.stack(chosen[::-1]))


def beta(n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
    """Quantiles of a Beta distribution over sigma ("Beta Sampling is All You Need", arXiv:2407.12173)."""
    from scipy import stats  # half a second to import, and only this schedule needs it

    low, high = options.bounds(levels)
    times = 1 - np.linspace(0, 1, n)
    quantiles = torch.tensor(stats.beta.ppf(times, options.alpha, options.beta), dtype=torch.float64)
    return _closed((low + quantiles * (high - low)).float())


def turbo(n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
    """The trained levels at the ends of n equal spans of time (SDXL Turbo's, arXiv:2311.17042)."""
    t = (torch.arange(n, 0, -1) * (len(levels.sigmas) / n) - 1).round().long().clip(0, len(levels.sigmas) - 1)
    return _closed(levels.sigmas[t])


def linear_quadratic(n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
    """Linear in sigma over the first half of the steps, down by 2.5 %, then quadratic to 0 (Movie Gen, arXiv:2410.13720, 3.4.1)."""
    _, high = options.bounds(levels)
    if n == 1:
        return torch.tensor([high, 0.0])
    threshold, m = 0.025, n // 2
    slope, rest = threshold / m, n - m
    curve = (1 - threshold - slope * rest) / rest**2  # meets the line with its slope, and 1 at step n
    i = torch.arange(n + 1, dtype=torch.float64)
    passed = torch.where(i < m, slope * i, threshold + slope * (i - m) + curve * (i - m) ** 2)
    return ((1 - passed) * high).float().index_fill(0, torch.tensor(n), 0.0)


# Levels of 10 or 31 steps found by optimisation: Align Your Steps (arXiv:2404.14507, its project page), GITS (arXiv:2405.11326).
_AYS = {
    "sd1": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
}
_GITS = {
    "sd1": (14.615, 4.617, 2.507, 1.236, 0.702, 0.402, 0.240, 0.156, 0.104, 0.094, 0.029),
    "sdxl": (14.615, 4.734, 2.567, 1.529, 0.987, 0.652, 0.418, 0.268, 0.179, 0.127, 0.029),
}
# fmt: off
_AYS_32 = {
    "sd1": (
        14.615, 11.23951352, 8.64363081, 6.64729424, 5.57250862, 4.71648546, 3.99196065, 3.5195609, 3.13490466,
        2.79228788, 2.48773628, 2.21663865, 1.97508351, 1.7793172, 1.61475335, 1.46540953, 1.314849, 1.16642497,
        1.03475547, 0.91573744, 0.80748169, 0.71202361, 0.621739, 0.53065202, 0.4529096, 0.37491455, 0.27461819,
        0.2011529, 0.14105873, 0.06682881, 0.03166121, 0.015,
    ),
    "sdxl": (
        14.615, 11.1491618, 8.50522127, 6.48827151, 5.43707402, 4.60398619, 3.89854704, 3.27407457, 2.74396527,
        2.29968659, 1.95448514, 1.67108715, 1.42878152, 1.23181009, 1.06789649, 0.92579443, 0.80290886, 0.69660121,
        0.60436903, 0.52852552, 0.46773344, 0.41393379, 0.36258186, 0.31008517, 0.26518925, 0.22326461, 0.17653877,
        0.13959192, 0.10587381, 0.05519369, 0.02877334, 0.015,
    ),
}
# fmt: on


def from_table(tables: dict[str, tuple[float, ...]]) -> MakeSigmas:
    """A schedule that interpolates a family's table, log sigma linear in the step's number."""

    def sigmas(n: int, levels: NoiseLevels, options: ScheduleOptions = DEFAULT) -> Tensor:
        table = np.array(tables[options.table])
        rising = np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(table)), np.log(table[::-1]))
        return _closed(torch.from_numpy(np.exp(rising)[::-1].copy()))

    return sigmas


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
        ("kl_optimal", "KL Optimal", kl_optimal, -1, False, ()),
        ("align_your_steps", "Align Your Steps", from_table(_AYS), -1, False, ()),
        ("simple", "Simple", simple, -1, True, ()),
        ("normal", "Normal", normal, -1, True, ()),
        ("ddim", "DDIM", ddim, -1, True, ("ddim_uniform",)),
        ("beta", "Beta", beta, -1, True, ()),
        ("turbo", "Turbo", turbo, -1, True, ()),
        ("kl_optimal_plain", "KL Optimal plain", kl_optimal_plain, -1, False, ()),  # ComfyUI's "kl_optimal"
        ("linear_quadratic", "Linear Quadratic", linear_quadratic, -1, False, ()),
        ("align_your_steps_GITS", "Align Your Steps GITS", from_table(_GITS), -1, False, ()),
        ("align_your_steps_11", "Align Your Steps 11", from_table(_AYS), -1, False, ()),
        ("align_your_steps_32", "Align Your Steps 32", from_table(_AYS_32), -1, False, ()),
    )
    for name, label, make, rho, inner, aliases in rows:
        entry = ScheduleEntry(name=name, label=label, aliases=aliases, default_rho=rho, need_inner_model=inner)
        also = [key for key in (name, *aliases) if key.casefold() != label.casefold()]
        registry.add(label, Schedule(entry=entry, make=make), also)
    return registry.freeze()
