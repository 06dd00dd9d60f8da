"""Units at work: at every call of the network those whose turn it is give their residuals, which are added up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from modules.control.ip_adapter import Words
from modules.control.networks import ControlNetwork, Residuals
from modules.control.reference import References
from modules.control.revision import Revisions
from modules.control.t2i_style import StyleWords
from modules.control.transformers.network import PATCH, TokenNetwork
from modules.control.turns import CONTROL_FIRST, Clock, Moment, Turn, cut
from modules.families.adding import Added, TokenCall
from modules.families.unet import Call
from modules.sampling.view import Row, View


@dataclass(frozen=True, kw_only=True)
class WorkingUnit(Turn):
    """A unit with its network and its hints (P, 3, H, W), or what the network made of them, one a picture or one for all. `mask`
    (1, 1, H, W): where it counts. `settle` is called when the network has computed. `cell`: pixels of the hints per latent, if not the
    picture's. `words`: what it reads in the place of the prompt."""

    network: ControlNetwork | TokenNetwork
    hints: Tensor
    mask: Tensor | None = None
    cell: int | None = None
    words: Words | None = None
    settle: Callable[[], None] = field(default=lambda: None)

    @property
    def guided_only(self) -> bool:
        """Does it leave D_u alone?"""
        return self.network.guided_only or self.unit.control_mode == CONTROL_FIRST

    def residuals(self, call: Any, rows: Sequence[Row], cell: int) -> Residuals:
        """What it adds for those rows of a Call or TokenCall; `cell`: pixels per latent."""
        wanted = [i for i, row in enumerate(rows) if row.guided or not self.guided_only]
        if not wanted:
            return Residuals()
        part = call if len(wanted) == len(rows) else call.of(wanted)
        hint = torch.cat([cut(self.hints, rows[i], self.cell or cell) for i in wanted]).to(call.x)
        if self.words:
            part = part._replace(context=self.words.of([rows[i] for i in wanted]).to(part.context))
        if isinstance(self.network, TokenNetwork):
            found = self.network.residuals(part, hint, self.unit.weight)
        else:
            found = self.network.residuals(part, hint)
        self.settle()
        found = found.of([one * scale for one, scale in zip(found.all, self.scales(len(found.all)), strict=True)])
        if self.mask is not None:
            masks = torch.cat([cut(self.mask, rows[i], cell) for i in wanted]).to(call.x)
            found = found.of([one * _at(masks, one, call) for one in found.all])
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
    `references` look at it, once `revisions` and `styles` have changed what it tells of the prompt."""

    def __init__(
        self,
        units: Sequence[WorkingUnit],
        view: View,
        clock: Clock,
        moment: Moment,
        *,
        references: References | None = None,
        styles: Sequence[StyleWords] = (),
        revisions: Revisions | None = None,
    ) -> None:
        self._units = units
        self._references = references
        self._styles = styles
        self._revisions = revisions
        self._view = view
        self._clock = clock
        self._moment = moment

    def __call__(self, call: Call) -> dict[str, Any]:
        """See families.unet.Adds."""
        moment = self._moment
        moment.part, moment.rows = self._clock.part, self._view.rows(len(call.x))
        given = call
        if self._revisions:
            call = self._revisions.changed(call, moment)
        for style in self._styles:
            call = style.changed(call, moment.rows) if style.counts(moment.part) else call
        if self._references:
            self._references.look(call)
        active = [unit for unit in self._units if unit.counts(moment.part)]
        found = [unit.residuals(call, moment.rows, moment.cell) for unit in active]
        more: dict[str, Any] = {}
        if call is not given:
            more = {"encoder_hidden_states": call.context, "class_labels": call.labels}
        if nets := [one for one in found if one.down]:
            more["down_block_additional_residuals"] = _sums([one.down for one in nets])
            more["mid_block_additional_residual"] = reduce(
                torch.add, [one.middle for one in nets if one.middle is not None]
            )
        if inside := [one.inside for one in found if one.inside]:
            more["down_intrablock_additional_residuals"] = _sums(inside)
        return more


class TokenUnits:
    """The same for a transformer: see families.adding.TokenAdds."""

    def __init__(self, units: Sequence[WorkingUnit], view: View, clock: Clock, cell: int) -> None:
        self._units = units
        self._view = view
        self._clock = clock
        self._cell = cell

    def __call__(self, call: TokenCall, at: Sequence[int], count: int) -> Added | None:
        """What all units add to those rows of so many."""
        rows = self._view.rows(count)
        rows = [rows[i] for i in at]
        placed: list[Added] = []
        for unit in self._units:
            if unit.counts(self._clock.part) and (found := unit.residuals(call, rows, self._cell)).all:
                assert isinstance(unit.network, TokenNetwork)
                placed.append(unit.network.placed(found))
        if not placed:
            return None
        return Added(blocks=_joined([one.blocks for one in placed]), singles=_joined([one.singles for one in placed]))


def _joined(found: Sequence[Sequence[Tensor | None]]) -> list[Tensor | None]:
    """What lies at each place, added up: once for all places where the same lie."""
    known: dict[tuple[int, ...], Tensor | None] = {}
    sums: list[Tensor | None] = []
    for each in zip(*(one for one in found if one), strict=True):
        key = tuple(id(one) for one in each)
        if key not in known:
            there = [one for one in each if one is not None]
            known[key] = reduce(torch.add, there) if there else None
        sums.append(known[key])
    return sums


def _sums(found: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """What lies at each place, added up. A list: the U-Net takes from it."""
    return [reduce(torch.add, each) for each in zip(*found, strict=True)]


def _at(masks: Tensor, like: Tensor, call: Any) -> Tensor:
    """The masks (N, 1, H, W) at the size of those features (N, C, h, w), or of those tokens (N, L, D): a picture's, row by row, and
    behind them what belongs to all of it."""
    if like.ndim == 3:
        tokens = interpolate(masks, size=[side // PATCH for side in call.x.shape[-2:]], mode="area").flatten(1)
        rest = tokens.mean(dim=1, keepdim=True).expand(-1, like.shape[1] - tokens.shape[1])
        return torch.cat([tokens, rest], dim=1)[..., None]
    return interpolate(masks, size=like.shape[-2:], mode="area") if like.shape[-1] > 1 else masks.mean((2, 3), True)


def _spread(found: Tensor, rows: Sequence[int], count: int) -> Tensor:
    """Those rows among `count`, the others 0."""
    whole = found.new_zeros(count, *found.shape[1:])
    whole[list(rows)] = found
    return whole
