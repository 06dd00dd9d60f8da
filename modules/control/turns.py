"""When a unit counts, and what is known of the call of the U-Net that is under way."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from modules.requests.control import CONTROL_MODES, HIRES_OPTIONS, ControlUnit
from modules.sampling.view import Box, Row

BALANCED, PROMPT_FIRST, CONTROL_FIRST = CONTROL_MODES
BOTH, LOW, HIGH = HIRES_OPTIONS


@dataclass(kw_only=True)
class Clock:
    """How far a run is: `step` of `steps` are done. As in the extension the part of the way that counts lags one step behind."""

    step: int = 0
    steps: int = 1

    @property
    def part(self) -> float:
        """0 at the first two steps, then more."""
        return max(self.step - 1, 0) / self.steps


@dataclass(kw_only=True)
class Moment:
    """The call that is under way: its rows, and the part of the run that is done. `cell`: pixels per latent. `aside`: a reference is shown.
    `own`: places of a picture itself, where those of a reference stand behind them, else 0."""

    cell: int
    part: float = 0.0
    rows: Sequence[Row] = ()
    aside: bool = False
    own: int = 0


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A unit in a run; `hires`: in a hires pass."""

    unit: ControlUnit
    hires: bool = False

    def counts(self, part: float) -> bool:
        """Is it its turn when that part of the way is done?"""
        if self.unit.hr_option == (LOW if self.hires else HIGH):
            return False
        return self.unit.guidance_start <= part <= self.unit.guidance_end

    def works(self, moment: Moment) -> bool:
        """Does it change what is computed now?"""
        return not moment.aside and self.counts(moment.part)

    @property
    def soft(self) -> bool:
        """Do its residuals count the less the higher they lie?"""
        return self.unit.control_mode != BALANCED or self.hires


def cut(pictures: Tensor, row: Row, cell: int) -> Tensor:
    """(1, C, H, W): of pictures (P, C, H, W) that of a row, or the part of it that the row shows."""
    one = pictures[row.picture % len(pictures)][None]
    box = row.box
    if box is None:
        return one
    return one[(..., *Box(*(side * cell for side in (box.top, box.left, box.height, box.width))).of)]


def grid_of(height: int, width: int, places: int) -> tuple[int, int]:
    """The rows and columns of so many places of a U-Net whose latents are of that size: it halves them, rounding up."""
    step = 1
    while -(-height // step) * -(-width // step) > places:
        step *= 2
    return -(-height // step), -(-width // step)


def places_of(mask: Tensor, rows: Sequence[Row], cell: int, places: int, like: Tensor) -> Tensor:
    """(N, places, 1): a mask (1, 1, H, W) of pixels at the size of features of those rows."""
    masks = torch.cat([cut(mask, row, cell) for row in rows])
    height, width = masks.shape[-2:]
    size = grid_of(height // cell, width // cell, places)
    return interpolate(masks, size=size, mode="area").flatten(2).transpose(1, 2).to(like)
