"""Noise by seed: every picture has its own generator, so that it does not depend on the batch it is in."""

from collections.abc import Sequence

import torch
from torch import Tensor


class NoiseSource:
    """First noise and the draws after it, for pictures of the given seeds.

    `source`: "CPU" draws there, "GPU" on `device` (A1111's names). `seed_delta` (ENSD) is added to the seeds for all
    draws after the first.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: tuple[int, int, int],
        *,
        device: torch.device,
        source: str = "CPU",
        seed_delta: int = 0,
    ) -> None:
        self._device = device
        self._draw_on = device if source == "GPU" else torch.device("cpu")
        self._shape = shape
        self._seeds = tuple(seeds)
        self._seed_delta = seed_delta
        self._generators = [self._generator(seed) for seed in seeds]

    def first(self) -> Tensor:
        """(B, C, H, W) standard normal; the picture's starting point."""
        noise = self.next()
        if self._seed_delta:
            self._generators = [self._generator(seed + self._seed_delta) for seed in self._seeds]
        return noise

    def next(self) -> Tensor:
        """(B, C, H, W) standard normal; the next draw of an ancestral sampler."""
        drawn = [torch.randn(self._shape, generator=g, device=self._draw_on) for g in self._generators]
        return torch.stack(drawn).to(self._device)

    def sampler(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """`next` as samplers call it; this noise does not depend on the interval."""
        return self.next()

    def _generator(self, seed: int) -> torch.Generator:
        return torch.Generator(self._draw_on).manual_seed(seed)
