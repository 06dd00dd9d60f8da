"""The reader: finds what is in a picture of the starter world. It learns from drawn pictures only and knows nothing of the model."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from .scene import COLOURS, KINDS, PLACES, STYLES

CELL = 8
"""Pixels of a picture in one cell of the reader's map."""


@dataclass(frozen=True)
class Seen:
    """A thing found; `x`, `y` in pixels of the picture, `sure` from 0 to 1."""

    kind: str
    colour: str
    x: float
    y: float
    sure: float


@dataclass(frozen=True)
class Reading:
    """What a picture shows: things, surest first."""

    things: tuple[Seen, ...]
    place: str
    style: str


@dataclass(frozen=True)
class Maps:
    """Logits: `kind` (B, 26, H/8, W/8), `colour` (B, 10, H/8, W/8), `place` (B, 8), `style` (B, 5)."""

    kind: Tensor
    colour: Tensor
    place: Tensor
    style: Tensor


class Block(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(8, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.silu(self.first(self.norm(x))))


class Reader(nn.Module):
    """(B, 3, H, W) in [-1, 1] -> Maps."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2, 1), nn.SiLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.GroupNorm(8, 64), nn.SiLU(), nn.Conv2d(64, width, 4, 2, 1),
        )  # fmt: skip
        self.body = nn.Sequential(*(Block(width) for _ in range(3)))
        self.maps = nn.Conv2d(width, len(KINDS) + len(COLOURS), 1)
        self.whole = nn.Linear(2 * width, len(PLACES) + len(STYLES))
        nn.init.constant_(self.maps.bias[: len(KINDS)], -4.0)  # things are rare: starts without seeing any

    def forward(self, pixels: Tensor) -> Maps:
        x = self.body(self.stem(pixels))
        kind, colour = self.maps(x).split((len(KINDS), len(COLOURS)), dim=1)
        place, style = self.whole(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)).split(
            (len(PLACES), len(STYLES)), dim=1
        )
        return Maps(kind, colour, place, style)


def load_reader(path: Path) -> Reader:
    """The reader with the weights shipped."""
    reader = Reader()
    reader.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return reader.requires_grad_(False).eval()


@torch.no_grad()
def read(reader: Reader, pixels: Tensor, *, threshold: float = 0.3) -> list[Reading]:
    """Pictures (B, 3, H, W) in [-1, 1] -> what is in each. Two things are at least three cells apart."""
    maps = reader(pixels)
    heat = maps.kind.sigmoid()
    best, kinds = heat.max(dim=1)  # (B, H/8, W/8)
    peaks = best * (best == functional.max_pool2d(best[:, None], 5, 1, 2)[:, 0])
    readings = []
    for i in range(len(pixels)):
        things = []
        for y, x in (peaks[i] > threshold).nonzero().tolist():
            kind, colour = KINDS[int(kinds[i, y, x])], COLOURS[int(maps.colour[i, :, y, x].argmax())]
            things.append(Seen(kind, colour, (x + 0.5) * CELL, (y + 0.5) * CELL, float(peaks[i, y, x])))
        things.sort(key=lambda one: -one.sure)
        readings.append(
            Reading(tuple(things), PLACES[int(maps.place[i].argmax())], STYLES[int(maps.style[i].argmax())])
        )
    return readings
