"""Noise by seed: every picture has its own generator, so that it does not depend on the batch it is in."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modules.sampling.brownian import BrownianNoise
from modules.sampling.philox import Philox

Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How the first noise departs from its seed's: towards that of the subseeds by `strength`, and as if the picture were
    `resize_from` (width, height) latent pixels, centred; None leaves the size."""

    subseeds: Sequence[int] = ()
    strength: float = 0.0
    resize_from: tuple[int, int] | None = None


class _Torch:
    """torch's generator behind Philox's interface."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        self._generator = torch.Generator(device).manual_seed(seed)

    def randn(self, shape: Sequence[int]) -> Tensor:
        return torch.randn(tuple(shape), generator=self._generator, device=self._device)


class NoiseSource:
    """First noise and the draws after it, for pictures of the given seeds.

    `source`: "CPU" draws there, "GPU" on `device`, "NV" as an NVIDIA card would (A1111's names). `seed_delta` (ENSD) is
    added to the seeds for all draws after the first; `restart`: they begin anew from the seeds, as in ComfyUI on a CPU.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Shape,
        *,
        device: torch.device,
        source: str = "CPU",
        seed_delta: int = 0,
        restart: bool = False,
        variation: Variation | None = None,
    ) -> None:
        self._device = device
        self._source = source
        self._shape = shape
        self._seeds = tuple(seeds)
        self._seed_delta, self._restart = seed_delta, restart
        self._variation = variation or Variation()
        self._generators = [self._generator(seed) for seed in seeds]

    def first(self) -> Tensor:
        """(B, C, H, W) standard normal; the picture's starting point."""
        noise = torch.stack([self._first(i) for i in range(len(self._seeds))]).to(self._device)
        if self._seed_delta or self._restart:
            self._generators = [self._generator(seed + self._seed_delta) for seed in self._seeds]
        return noise

    def next(self) -> Tensor:
        """(B, C, H, W) standard normal; the next draw of an ancestral sampler."""
        return torch.stack([g.randn(self._shape) for g in self._generators]).to(self._device)

    def sampler(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """`next` as samplers call it; this noise does not depend on the interval."""
        return self.next()

    def brownian(self, sigmas: Tensor) -> BrownianNoise:
        """Noise that does depend on the interval, for SDE samplers over these levels."""
        return BrownianNoise(
            self._seeds, sigmas, lambda seed: self._generator(seed).randn(self._shape).to(self._device)
        )

    def _first(self, i: int) -> Tensor:
        """(C, H, W) of picture i. A resized seed draws for its own size, then fills the rest from its running generator."""
        variation = self._variation
        shape = self._shape
        if variation.resize_from:
            width, height = variation.resize_from
            shape = (self._shape[0], height, width)
        resized = shape != self._shape
        generator = self._generator(self._seeds[i]) if resized else self._generators[i]
        noise = generator.randn(shape)
        if variation.strength and variation.subseeds:
            noise = slerp(variation.strength, noise, self._generator(variation.subseeds[i]).randn(shape))
        return centred(noise, self._generators[i].randn(self._shape)) if resized else noise

    def _generator(self, seed: int) -> Philox | _Torch:
        if self._source == "NV":
            return Philox(seed)
        return _Torch(seed, self._device if self._source == "GPU" else torch.device("cpu"))


def slerp(w: float, low: Tensor, high: Tensor) -> Tensor:
    """From `low` to `high` by w along the arc between them, each column of (C, H, W) for itself, as A1111 does."""
    cos = (low / low.norm(dim=1, keepdim=True) * (high / high.norm(dim=1, keepdim=True))).sum(1)
    if cos.mean() > 0.9995:
        return low * w + high * (1 - w)
    omega = cos.acos()
    sin = omega.sin()
    return (((1 - w) * omega).sin() / sin).unsqueeze(1) * low + ((w * omega).sin() / sin).unsqueeze(1) * high


def centred(noise: Tensor, around: Tensor) -> Tensor:
    """`around` (C, H, W) with `noise` of another size laid over its middle; what stands over is cut off evenly."""
    result = around.clone()
    into, source = [], []
    for have, want in zip(noise.shape[1:], around.shape[1:], strict=True):
        margin = (want - have) // 2  # rounds down, also below 0
        inside = have if margin >= 0 else have + 2 * margin
        into.append(slice(max(margin, 0), max(margin, 0) + inside))
        source.append(slice(max(-margin, 0), max(-margin, 0) + inside))
    result[:, into[0], into[1]] = noise[:, source[0], source[1]]
    return result
