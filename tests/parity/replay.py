"""Recorded runs of A1111 played back: a denoiser that gives the recorded answers and compares what it is asked.

Records hold one call a step: x (or, from DDIM and its kin, the next x at the network's scale), its sigma, and D. Answers to
calls between are not recorded; they are taken from D at the next step, which is close but not equal, so that samplers of
two calls a step can only be held to a looser bound.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modules.core.settings import Settings
from modules.requests.catalogue import Catalogue
from modules.sampling.adams import BASHFORTH
from modules.sampling.denoiser import NoiseLevels, scaled_linear_alphas_cumprod
from modules.sampling.noise import NoiseSource
from modules.sampling.registry import build_samplers
from modules.sampling.sampler import Sampler, schedule_options
from modules.sampling.schedules import build_schedules

LEVELS = NoiseLevels(scaled_linear_alphas_cumprod())


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case: the worst differences of what the model was asked, and of what came out."""

    name: str
    exact: bool
    calls: int
    sigma: float
    x: float
    latent: float

    def __str__(self) -> str:
        kind = "all answers recorded" if self.exact else "answers between steps approximate"
        return f"{self.name:44} {self.calls:3} steps  sigma {self.sigma:.1e}  x {self.x:.1e}  latent {self.latent:.1e}  {kind}"


def replay(name: str, request: dict[str, Any], arrays: dict[str, np.ndarray]) -> Row:
    """Run the request's sampler over its record."""
    options = Settings().changed(request.get("override_settings", {})).flat()
    samplers, schedules = build_samplers(), build_schedules()
    catalogue = Catalogue(
        samplers=tuple(s.entry for _, s in samplers.items()), schedules=tuple(s.entry for _, s in schedules.items())
    )
    entry, schedule = catalogue.sampler_and_schedule(request["sampler_name"], request["scheduler"])
    sampler = samplers.get(entry.name)
    label = schedule.label if schedule.label != "Automatic" else entry.schedule
    steps = request["steps"]
    sigmas = sampler.sigmas(steps, schedules.get(label), LEVELS, schedule_options(options, "sd1"))
    latent = torch.from_numpy(arrays["latent"])
    seeds = [request["seed"] + i for i in range(latent.shape[0])]
    c, h, w = latent.shape[1:]
    noise = NoiseSource(seeds, (c, h, w), device=torch.device("cpu"), source=options["randn_source"])
    x = sampler.start(noise.first(), sigmas)
    tape = Tape(sampler, x, sigmas, arrays)
    result = sampler.sample(
        tape,
        x,
        sampler.path(steps, sigmas, LEVELS),
        callback=tape.reported,
        noise_sampler=sampler.noise_sampler(noise, sigmas),
        **sampler.arguments(options),
    )
    return Row(
        name=name,
        exact=tape.exact,
        calls=tape.steps,
        sigma=tape.worst_sigma,
        x=tape.worst_x,
        latent=relative(result, latent),
    )


class Tape:
    """The denoiser. `between`: how many calls each step makes after its first."""

    def __init__(self, sampler: Sampler, x: Tensor, sigmas: Tensor, arrays: dict[str, np.ndarray]) -> None:
        self.steps = self._answered = 0
        self.worst_sigma = self.worst_x = 0.0
        self._x = list(torch.from_numpy(arrays["trace_x"]))
        self._d = list(torch.from_numpy(arrays["trace_denoised"]))
        self._sigma = torch.from_numpy(arrays["trace_sigma"]).tolist()
        self._unguided: list[Tensor] = []
        self._first_slope: Tensor | None = None
        if sampler.levels_of == "ddim":
            self._from_times(sampler.entry.name, x, sigmas)
        elif sampler.entry.name == "Restart":
            self._sigma = sigmas[:-1].tolist()  # its record tells where steps go
        n = len(self._d)
        between = [1] * (n - 1) + [0] if sampler.entry.second_order else [0] * n
        if sampler.entry.name == "DPM fast":
            between = [2] * (n - 2) + [1, 0]
        self.exact = not any(between)
        self._calls = iter(call for i, count in enumerate(between) for call in [(i, True), *[(i, False)] * count])
        if self._first_slope is not None:
            self._calls = iter([(0, True), (0, False), *((i, True) for i in range(1, n))])

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        i, recorded = next(self._calls)
        if recorded:
            self._answered = i
            self.worst_sigma = max(self.worst_sigma, abs(sigma[0].item() / self._sigma[i] - 1))
            self.worst_x = max(self.worst_x, relative(x, self._x[i]))
            return self._d[i]
        if self._first_slope is not None:
            return x - sigma[0] * self._first_slope
        log_sigma = torch.tensor(self._sigma[i : i + 2]).log()
        w = (sigma[0].log() - log_sigma[0]) / (log_sigma[1] - log_sigma[0])
        return self._d[i].lerp(self._d[i + 1], w)

    def both(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        denoised = self(x, sigma)
        return denoised, self._unguided[self._answered]

    def reported(self, step: dict[str, Any]) -> None:
        self.steps += 1

    def _from_times(self, name: str, x: Tensor, sigmas: Tensor) -> None:
        """Turn a record in the model's times into one in sigmas: x before each step, and the answers that lead to it."""
        after = [x_next * (1 + s**2).sqrt() for x_next, s in zip(self._x, sigmas[1:], strict=True)]
        self._x = [x, *after[:-1]]
        self._sigma = sigmas[:-1].tolist()
        slopes = [(x_i - d) / s for x_i, d, s in zip(self._x, self._d, sigmas[:-1], strict=True)]
        if name == "DDIM CFG++":
            unguided = [(x_i - d) / s for x_i, d, s in zip(after, self._d, sigmas[1:], strict=True)]
            self._unguided = [x_i - s * d for x_i, s, d in zip(self._x, sigmas[:-1], unguided, strict=True)]
        if name == "PLMS":  # recorded is D of the combined slopes
            single: list[Tensor] = []
            for i, slope in enumerate(slopes):
                first, *rest = BASHFORTH[min(i, 3)]
                past = sum((w * s for w, s in zip(rest, single[::-1], strict=False)), torch.zeros_like(slope))
                single.append((slope - past) / first)
            self._d = [x_i - s * d for x_i, s, d in zip(self._x, sigmas[:-1], single, strict=True)]
            self._first_slope = slopes[0]


def relative(value: Tensor, record: Tensor) -> float:
    """Relative L2 difference."""
    return ((value - record).norm() / record.norm()).item()


def recorded(folder: Path) -> list[Path]:
    """The cases in a folder of records that hold a trace."""
    found = []
    for path in sorted(folder.rglob("*.npz")):
        if path.with_suffix(".json").is_file() and "trace_x" in np.load(path).files:
            found.append(path)
    return found


def load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(request, arrays) of a case."""
    request = json.loads(path.with_suffix(".json").read_text("utf-8"))["request"]
    return request, dict(np.load(path))
