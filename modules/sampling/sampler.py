"""A sampler as users choose it: its function, and where its levels, noise and arguments come from."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from modules.requests.catalogue import SamplerEntry
from modules.sampling.denoiser import ConsistencyDenoiser, ConsistencyLevels, ContextDenoiser, NoiseLevels
from modules.sampling.flow import FlowLevels, in_data_scale, with_churn_in_data_scale
from modules.sampling.noise import NoiseSource
from modules.sampling.schedules import DEFAULT, Schedule, ScheduleOptions
from modules.sampling.steps import NoiseSampler
from modules.sampling.times import TRAIN_STEPS, ddim_levels, ddim_times, span_levels, unipc_levels
from modules.sampling.trajectory import between_of


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A sampler function and how it is used.

    `levels_of`: where its sigmas come from, a "schedule", or its own: "ddim" and "unipc" times, or a "span" that only the
    ends of the levels matter to. `guidance`: what the CFG scale is multiplied by. `consistency`: it is for distilled models.
    `fixed`: arguments of the function that users do not choose. `on_flow`: the function for flow models where it is one of
    their own; otherwise the same, which solves their equation too, or what `in_data_scale` makes of it where it adds noise or
    `renoises`. `flow`: it is used on such a model. `timed`: its function takes the model's times as `between`.
    """

    entry: SamplerEntry
    sample: Callable[..., Tensor]
    levels_of: str = "schedule"
    guidance: float = 1.0
    consistency: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)
    renoises: bool = False
    on_flow: Callable[..., Tensor] | None = None
    flow: bool = False
    timed: bool = False

    def on(self, levels: NoiseLevels) -> "Sampler":
        """This sampler as it is used on a model of those levels."""
        if self.timed and not isinstance(levels, FlowLevels):
            return replace(self, timed=False, sample=partial(self.sample, between=between_of(levels)))
        if not isinstance(levels, FlowLevels) or self.flow:
            return self
        entry, sample = self.entry, self.sample
        if entry.draws_noise or entry.brownian_noise or entry.eta or self.renoises:
            sample = in_data_scale(sample)
        elif entry.churn:
            sample = with_churn_in_data_scale(sample)
        return replace(self, flow=True, sample=self.on_flow or sample)

    @property
    def own_times(self) -> bool:
        """Does it walk in times of its own? Those are of models with alphas."""
        return self.levels_of in ("ddim", "unipc") and not self.flow

    def levels(self, levels: NoiseLevels, *, quantize: bool = False) -> NoiseLevels:
        """The levels to take steps over and to ask the model at; `quantize` rounds to trained ones."""
        if self.consistency and not self.flow:
            return ConsistencyLevels(levels)
        return levels.quantized() if quantize and not self.own_times else levels

    def denoiser(self, denoiser: ContextDenoiser, levels: NoiseLevels) -> ContextDenoiser:
        """The model as this sampler asks it; `levels` are those it was built with."""
        return ConsistencyDenoiser(denoiser, levels) if isinstance(levels, ConsistencyLevels) else denoiser

    def sigmas(
        self,
        n: int,
        schedule: Schedule,
        levels: NoiseLevels,
        options: ScheduleOptions = DEFAULT,
        *,
        discard: bool = False,
        skip_type: str = "time_uniform",
    ) -> Tensor:
        """The noise levels of n steps, falling, float32 on the CPU.

        `discard` (or the sampler's own need) makes one more and drops the last but one; `skip_type`: how UniPC spaces times.
        """
        discard = discard or self.entry.discard_penultimate
        if self.own_times:
            ddim = self.levels_of == "ddim"
            return ddim_levels(n + discard, levels) if ddim else unipc_levels(n + discard, levels, skip_type)
        sigmas = schedule.sigmas(n + discard, levels, options)
        return torch.cat([sigmas[:-2], sigmas[-1:]]) if discard else sigmas

    def resumed(
        self, n: int, last: int, sigmas: Tensor, levels: NoiseLevels, *, discard: bool = False, skip_type: str = ""
    ) -> tuple[Tensor, Tensor]:
        """Where a run over `sigmas` (which were asked for n steps) begins when a picture is there already: the level of the noise put on
        it, and the levels to walk, with `last` steps after the first.

        As in A1111 samplers of the model's times walk from one time lower than the noise they begin with.
        """
        if not self.own_times:
            left = sigmas[max(n - last - 1, 0) :]
            if self.levels_of == "span":
                ends = left[0].log().item(), left[-2].log().item()
                return left[0], torch.linspace(*ends, len(left)).exp().to(sigmas.device)
            return left[0], left
        times = ddim_times(n + (discard or self.entry.discard_penultimate))
        level = levels.sigmas[times[min(last, len(times) - 1)]].to(sigmas.device)
        if self.levels_of == "ddim":
            left = levels.sigmas[torch.tensor(times[:last][::-1], dtype=torch.long)].to(sigmas.device)
            return level, left if last else level[None]  # no step is left
        begin = (times[max(last - 1, 0)] + 1) / TRAIN_STEPS
        return level, unipc_levels(n, levels, skip_type, begin=begin, steps=last).to(sigmas.device)

    def resume(self, latents: Tensor, noise: Tensor, level: Tensor, path: Tensor, *, extra: float = 0.0) -> Tensor:
        """Latents with unit noise on them as `sample` takes them, and `extra` of it once more; `level` and `path` are what `resumed`
        answered."""
        if self.flow:
            return (1 - level) * latents + (level + extra) * noise
        x = latents + (level + extra) * noise
        if self.own_times:
            x = x * ((1 + path[0] ** 2) / (1 + level**2)).sqrt()
        return x

    def path(self, n: int, sigmas: Tensor, levels: NoiseLevels) -> Tensor:
        """What `sample` gets of the levels that `sigmas` answered: all, or a span of its own."""
        return span_levels(n, levels).to(sigmas.device) if self.levels_of == "span" else sigmas

    def start(self, noise: Tensor, sigmas: Tensor, *, preserving: bool = False) -> Tensor:
        """Unit noise at level sigmas[0]; `preserving` (A1111's SGM noise multiplier) allows for the missing picture's variance."""
        if (preserving and not self.flow) or self.own_times:
            return noise * (1 + sigmas[0] ** 2).sqrt()
        return noise * sigmas[0]

    def threshold(self, level: float, levels: NoiseLevels) -> float:
        """A1111's "minimum sigma" as a sigma: to samplers of the model's times it is a time."""
        if not level or not self.own_times:
            return level
        return levels.sigma(torch.tensor(min(level, len(levels.sigmas) - 1.0))).item()

    def noise_sampler(self, noise: NoiseSource, sigmas: Tensor) -> NoiseSampler:
        """The noise it draws as it goes."""
        return noise.brownian(sigmas) if self.entry.brownian_noise else noise.sampler

    def arguments(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments of `sample`, from settings of A1111's names."""
        found = dict(self.fixed)
        if self.entry.eta:
            found["eta"] = settings[self.entry.eta]
        if self.entry.churn:
            found.update({name: settings[name] for name in ("s_churn", "s_tmin")})
            found["s_tmax"] = settings["s_tmax"] or math.inf
        if self.entry.s_noise:
            found["s_noise"] = settings["s_noise"]
        if self.levels_of == "unipc":
            found.update({name: settings[f"uni_pc_{name}"] for name in ("variant", "order", "lower_order_final")})
        return found


def schedule_options(settings: Mapping[str, Any], family: str) -> ScheduleOptions:
    """What settings of A1111's names say of schedules, for a model of that family."""
    low, high = (0.1, 10.0) if settings["use_old_karras_scheduler_sigmas"] else (0.0, 0.0)
    return ScheduleOptions(
        sigma_min=settings["sigma_min"] or low,
        sigma_max=settings["sigma_max"] or high,
        rho=settings["rho"],
        alpha=settings["beta_dist_alpha"],
        beta=settings["beta_dist_beta"],
        table="sdxl" if family.startswith("sdxl") else "sd1",
    )
