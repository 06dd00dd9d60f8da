"""Units at work: at every call of the U-Net those whose turn it is give their residuals, which are added up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from modules.control.networks import ControlNetwork, Residuals
from modules.control.reference import References
from modules.control.turns import CONTROL_FIRST, Clock, Moment, Turn, cut
from modules.families.unet import Call
from modules.sampling.view import Row, View


@dataclass(frozen=True, kw_only=True)
class WorkingUnit(Turn):
    """A unit with its network and its hints (P, 3, H, W), one a picture or one for all. `mask` (1, 1, H, W): where it counts.
    `settle` is called when the network has computed."""

    network: ControlNetwork
    hints: Tensor
    mask: Tensor | None = None
    settle: Callable[[], None] = field(default=lambda: None)

    @property
    def guided_only(self) -> bool:
        """Does it leave D_u alone?"""
        return self.network.guided_only or self.unit.control_mode == CONTROL_FIRST

    def residuals(self, call: Call, rows: Sequence[Row], cell: int) -> Residuals:
        """What it adds for those rows; `cell`: pixels per latent."""
        wanted = [i for i, row in enumerate(rows) if row.guided or not self.guided_only]
        if not wanted:
            return Residuals()
        part = call if len(wanted) == len(rows) else call.of(wanted)
        hint = torch.cat([cut(self.hints, rows[i], cell) for i in wanted]).to(call.x)
        found = self.network.residuals(part, hint)
        self.settle()
        found = found.of([one * scale for one, scale in zip(found.all, self.scales(len(found.all)), strict=True)])
        if self.mask is not None:
            masks = torch.cat([cut(self.mask, rows[i], cell) for i in wanted]).to(call.x)
            found = found.of([one * _at(masks, one) for one in found.all])
        if len(wanted) == len(rows):
            return found
        return found.of([_spread(one, wanted, len(rows)) for one in found.all])

    def scales(self, count: int) -> tuple[float, ...]:
        """The factors of so many residuals."""
        if self.unit.advanced_weighting is not None:
            own = self.unit.advanced_weighting[:count]
            return (*own, *(own[-1:] or (1.0,)) * (count - len(own)))
        return tuple(self.unit.weight * scale for scale in (self.network.soft(count) if self.soft else (1.0,) * count))


class Units:
    """All units of one run, as what a U-Net is called with besides. `moment` is told of every call, for those that work inside;
    `references` look at it."""

    def __init__(
        self,
        units: Sequence[WorkingUnit],
        view: View,
        clock: Clock,
        moment: Moment,
        *,
        references: References | None = None,
    ) -> None:
        self._units = units
        self._references = references
        self._view = view
        self._clock = clock
        self._moment = moment

    def __call__(self, call: Call) -> dict[str, Any]:
        """See families.unet.Adds."""
        moment = self._moment
        moment.call, moment.part, moment.rows = call, self._clock.part, self._view.rows(len(call.x))
        if self._references:
            self._references.look(call)
        active = [unit for unit in self._units if unit.counts(moment.part)]
        found = [unit.residuals(call, moment.rows, moment.cell) for unit in active]
        more: dict[str, Any] = {}
        if nets := [one for one in found if one.down]:
            more["down_block_additional_residuals"] = _sums([one.down for one in nets])
            more["mid_block_additional_residual"] = reduce(
                torch.add, [one.middle for one in nets if one.middle is not None]
            )
        if inside := [one.inside for one in found if one.inside]:
            more["down_intrablock_additional_residuals"] = _sums(inside)
        return more


def _sums(found: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """What lies at each place, added up. A list: the U-Net takes from it."""
    return [reduce(torch.add, each) for each in zip(*found, strict=True)]


def _at(masks: Tensor, like: Tensor) -> Tensor:
    """The masks (N, 1, H, W) at the size of those features."""
    return interpolate(masks, size=like.shape[-2:], mode="area") if like.shape[-1] > 1 else masks.mean((2, 3), True)


def _spread(found: Tensor, rows: Sequence[int], count: int) -> Tensor:
    """Those rows among `count`, the others 0."""
    whole = found.new_zeros(count, *found.shape[1:])
    whole[list(rows)] = found
    return whole
