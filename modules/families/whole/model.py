"""A loaded whole pipeline, and what it is asked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from modules.devices.choice import Compute

Noise = Callable[[tuple[int, int, int]], Tensor]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One picture. Sizes are in pixels, `scale` is that of the guidance.

    `noise`: its first noise (1, C, h, w) for latents of a shape (C, h, w). `generator`: for whatever else is drawn, on the CPU.
    `on_step` is called after each step of each stage and may raise Cancelled.
    """

    prompt: str
    negative: str
    steps: int
    scale: float
    width: int
    height: int
    noise: Noise
    generator: torch.Generator
    on_step: Callable[[], None]


class Pipeline(Protocol):
    """`multiple`: what the sides of its pictures are multiples of, in pixels. `seeded`: it begins from the first noise it is given."""

    label: str
    multiple: int
    seeded: bool

    def calls(self, steps: int, width: int, height: int) -> int:
        """How often on_step will be called for such a picture."""
        ...

    def draw(self, ask: Ask) -> Tensor:
        """The picture: (1, 3, H, W) in [0, 1], float32, on the CPU."""
        ...


@dataclass(frozen=True, kw_only=True)
class WholeModel:
    """A checkpoint that is a whole pipeline; `sha256()` as LoadedModel's."""

    name: str
    sha256: Callable[[], str]
    compute: Compute
    pipeline: Pipeline
