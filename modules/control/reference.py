"""Reference-only control: a picture's latents, noised as those that are drawn, go through the U-Net at the same step; what its layers
see of them, self-attention sees too ("attn"), and features take over their mean and deviation (AdaIN, arXiv:1703.06868)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from modules.control.turns import CONTROL_FIRST, PROMPT_FIRST, Clock, Moment, Turn, cut, places_of
from modules.families.unet import Call
from modules.patches.hooks import Hooks
from modules.sampling.view import Row

ATTENDING = ("reference_only", "reference_adain+attn")
ADAPTING = ("reference_adain", "reference_adain+attn")
REFERENCES = ("reference_only", "reference_adain", "reference_adain+attn")

EPSILON = 1e-6
SALT = 0x5EED_0F_4EF
"""Apart from a picture's own seed, whose noise a reference must not have: it would be drawn in the same places."""

FRACTION = 2 / 3
"""Of the layers on the way up, those whose mean and deviation count."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference(Turn):
    """A unit at work. `latents` (P, C, h, w): of its pictures; `seeds`: of the pictures that are drawn; `mask` (1, 1, H, W): where it counts."""

    latents: Tensor
    seeds: Sequence[int]
    mask: Tensor | None = None
    seen: dict[Any, Any] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)

    @property
    def fidelity(self) -> float:
        """How little D_u is told of it, 0 to 1: then guidance leads towards it the more."""
        if self.unit.control_mode == CONTROL_FIRST:
            return 1.0
        return 0.0 if self.hires or self.unit.control_mode == PROMPT_FIRST else self.unit.threshold_a

    def share(self, row: Row) -> float:
        """How much a row is told of it."""
        return 1.0 if row.guided else 1.0 - self.fidelity


class References:
    """All units of one run that go by references. `sigma`: the noise level at a time t; `extra`: what an inpainting U-Net sees beside
    latents is a mask and a picture, of the reference nothing to paint, and the reference."""

    def __init__(
        self,
        units: Sequence[Reference],
        unet: Any,
        clock: Clock,
        moment: Moment,
        sigma: Callable[[Tensor], Tensor],
        *,
        inpainting: bool,
    ) -> None:
        self._units = units
        self._unet = unet
        self._clock = clock
        self._moment = moment
        self._sigma = sigma
        self._inpainting = inpainting
        self._looking: Reference | None = None

    def attach(self, hook: Hooks) -> None:
        """To all layers that a unit looks at by its weight."""
        attention = [layer.attn1 for layer in self_attending(self._unet)]
        for place, layer in enumerate(attention):
            units = self._of(ATTENDING, place / len(attention))
            if units:
                hook.around(layer, partial(self._attend, layer, units))
        for layer, least in adapted_layers(self._unet):
            if units := self._of(ADAPTING, least):
                hook.after(layer, partial(self._adapt, layer, units))

    def _of(self, kinds: Sequence[str], least: float) -> list[Reference]:
        return [one for one in self._units if one.unit.module in kinds and one.unit.weight > least]

    def look(self, call: Call) -> None:
        """Show the references to the U-Net as that call shows what is drawn."""
        moment = self._moment
        rows = moment.rows
        for unit in self._units:
            unit.seen.clear()
            unit.rows[:] = [i for i, row in enumerate(rows) if unit.counts(moment.part) and unit.share(row) > 0]
            if not unit.rows:
                continue
            part = call.of(unit.rows)
            self._looking, moment.rows, moment.aside = unit, [rows[i] for i in unit.rows], True
            try:
                told = {"encoder_hidden_states": part.context, "class_labels": part.labels, "return_dict": False}
                self._unet(self._noised(unit, part), part.t, **told)
            finally:
                self._looking, moment.rows, moment.aside = None, rows, False

    def _noised(self, unit: Reference, call: Call) -> Tensor:
        """The reference as rows (N, C + E, h, w): sqrt(a) x_0 + sqrt(1 - a) noise."""
        rows = self._moment.rows
        clean = torch.cat([cut(unit.latents, row, 1) for row in rows])
        noise = torch.cat([cut(self._noise(unit, row.picture), Row(0, row.guided, row.box), 1) for row in rows])
        s = self._sigma(call.t.float().cpu()).view(-1, 1, 1, 1)
        x = ((clean + s * noise) / (s**2 + 1).sqrt()).to(call.x)
        beside = call.x[:, x.shape[1] :]
        if self._inpainting:
            beside = torch.cat([torch.zeros_like(x[:, :1]), clean.to(x)], dim=1)
        return torch.cat([x, beside], dim=1)

    def _noise(self, unit: Reference, picture: int) -> Tensor:
        """(1, C, h, w): the same at every call of a step."""
        seed = unit.seeds[picture % len(unit.seeds)] * 1_000_003 + SALT + self._clock.step
        generator = torch.Generator().manual_seed(seed % 2**63)
        return torch.randn((1, *unit.latents.shape[1:]), generator=generator)

    def _attend(
        self, layer: Any, units: Sequence[Reference], forward: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """Self-attention whose keys and values are of the reference too."""
        hidden: Tensor = args[0]  # (N, places, C)
        own = forward(*args, **kwargs)
        if self._looking:
            if self._looking in units:
                self._looking.seen[layer] = hidden
            return own
        found = own
        for unit, share in self._shares(units, layer, hidden.shape[1], hidden):
            part = hidden[unit.rows]
            states = torch.cat([part, unit.seen[layer]], dim=1)
            with self._joined(unit, hidden.shape[1]):
                joined = forward(part, **{**kwargs, "encoder_hidden_states": states})
            found = _moved(found, own, joined, share, unit.rows)
        return found

    @contextmanager
    def _joined(self, unit: Reference, places: int) -> Iterator[None]:
        """Tell what works in the layer's projections of the rows and places that they are given."""
        moment = self._moment
        rows = moment.rows
        moment.rows, moment.own = [rows[i] for i in unit.rows], places
        try:
            yield
        finally:
            moment.rows, moment.own = rows, 0

    def _adapt(self, layer: Any, units: Sequence[Reference], output: Any) -> Any:
        """Features (N, C, h, w) with the reference's mean and deviation."""
        own: Tensor = output[0] if isinstance(output, tuple) else output
        if self._looking:
            if self._looking in units:
                self._looking.seen[layer] = _statistics(own)
            return output
        found = own
        for unit, share in self._shares(units, layer, own.shape[2] * own.shape[3], own):
            part = own[unit.rows]
            (mean, deviation), (wanted_mean, wanted) = _statistics(part), unit.seen[layer]
            adapted = ((part.float() - mean) / deviation * wanted + wanted_mean).to(own)
            size = own.shape[2:] if share.shape[1] > 1 else (1, 1)
            share = share.transpose(1, 2).unflatten(2, size)
            found = _moved(found, own, adapted, share, unit.rows)
        return (found, *output[1:]) if isinstance(output, tuple) else found

    def _shares(
        self, units: Sequence[Reference], layer: Any, places: int, like: Tensor
    ) -> list[tuple[Reference, Tensor]]:
        """Units that have seen this layer, and how much of the difference they make counts, (rows, places or 1, 1). Where several count,
        their mean does."""
        active = [unit for unit in units if layer in unit.seen]
        rows = self._moment.rows
        covers = {}
        for unit in active:
            one = like.new_ones(len(rows), 1, 1)
            covers[id(unit)] = one if unit.mask is None else places_of(unit.mask, rows, self._moment.cell, places, like)
        total = sum(covers.values(), like.new_zeros(())).clamp(min=1)
        found = []
        for unit in active:
            shares = like.new_tensor([unit.share(row) for row in rows]).view(-1, 1, 1)
            found.append((unit, (covers[id(unit)] * shares / total)[unit.rows]))
        return found


def _moved(found: Tensor, own: Tensor, other: Tensor, share: Tensor, rows: list[int]) -> Tensor:
    """`found`, those rows moved by that share of the way from `own` to `other`."""
    moved = found.clone()
    moved[rows] += share * (other - own[rows])
    return moved


def _statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel (N, C, 1, 1), float32."""
    variance, mean = torch.var_mean(features.float(), dim=(2, 3), keepdim=True, correction=0)
    return mean, variance.clamp(min=EPSILON).sqrt()


def self_attending(unet: Any) -> list[Any]:
    """The transformer blocks with self-attention, widest first, of equal ones the way down, the way up, then the middle."""
    from diffusers.models.attention import BasicTransformerBlock

    found = [
        block
        for part in (*unet.down_blocks, *unet.up_blocks, unet.mid_block)
        for block in part.modules()
        if isinstance(block, BasicTransformerBlock)
    ]
    return sorted(found, key=lambda block: -block.norm1.normalized_shape[0])


def adapted_layers(unet: Any) -> list[tuple[Any, float]]:
    """Layers (N, C, h, w) whose mean and deviation a reference gives, each with the weight above which it does: the deeper the less."""
    down = [layer for block in list(unet.down_blocks)[1:] for layer in _ends(block)]
    every = [layer for block in unet.up_blocks for layer in _ends(block)]
    up = every[: round(len(every) * FRACTION)]
    middle = unet.mid_block.resnets[-1]
    return [
        (middle, 0.0),
        *((layer, 2 * (1 - i / len(down))) for i, layer in enumerate(down)),
        *((layer, 2 * i / len(up)) for i, layer in enumerate(up)),
    ]


def _ends(block: Any) -> list[Any]:
    """What each layer of a block ends with: its attention, where it has one."""
    return list(getattr(block, "attentions", None) or block.resnets)
