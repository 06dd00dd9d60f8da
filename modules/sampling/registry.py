"""The samplers users can choose, with A1111's names, aliases and defaults."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from modules.core.registry import Registry
from modules.requests.catalogue import SamplerEntry
from modules.sampling import samplers
from modules.sampling.denoiser import NoiseLevels
from modules.sampling.schedules import Schedule


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A sampler function and how it is used.

    `ancestral`: takes `eta`. `discard_penultimate`: made for one step more, whose last but one level is dropped.
    """

    entry: SamplerEntry
    sample: Callable[..., Tensor]
    ancestral: bool = False
    discard_penultimate: bool = False

    def sigmas(self, n: int, schedule: Schedule, levels: NoiseLevels) -> Tensor:
        """The noise levels of n steps, (n + 1,) float32 on the CPU."""
        if not self.discard_penultimate:
            return schedule.sigmas(n, levels)
        sigmas = schedule.sigmas(n + 1, levels)
        return torch.cat([sigmas[:-2], sigmas[-1:]])


def build_samplers() -> Registry[Sampler]:
    """All samplers in A1111's order."""
    registry: Registry[Sampler] = Registry("sampler_name")

    def add(
        name: str,
        sample: Callable[..., Tensor],
        *aliases: str,
        schedule: str = "Automatic",
        second_order: bool = False,
        ancestral: bool = False,
        discard: bool = False,
    ) -> None:
        entry = SamplerEntry(
            name=name,
            aliases=aliases,
            schedule=schedule,
            second_order=second_order,
            draws_noise=ancestral,
            discard_penultimate=discard,
        )
        registry.add(
            name, Sampler(entry=entry, sample=sample, ancestral=ancestral, discard_penultimate=discard), aliases
        )

    add("DPM++ 2M", samplers.sample_dpmpp_2m, "k_dpmpp_2m", schedule="Karras")
    add(
        "DPM++ 2S a",
        samplers.sample_dpmpp_2s_ancestral,
        "k_dpmpp_2s_a",
        schedule="Karras",
        second_order=True,
        ancestral=True,
    )
    add("Euler a", samplers.sample_euler_ancestral, "k_euler_a", "k_euler_ancestral", ancestral=True)
    add("Euler", samplers.sample_euler, "k_euler")
    add("Heun", samplers.sample_heun, "k_heun", second_order=True)
    add("DPM2", samplers.sample_dpm_2, "k_dpm_2", schedule="Karras", second_order=True, discard=True)
    add(
        "DPM2 a",
        samplers.sample_dpm_2_ancestral,
        "k_dpm_2_a",
        schedule="Karras",
        second_order=True,
        ancestral=True,
        discard=True,
    )
    return registry.freeze()
