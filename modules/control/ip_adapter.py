"""IP-Adapter (arXiv:2308.06721): a picture as words of its own, which the U-Net attends to beside the prompt's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from modules.control.turns import Moment, Turn, places_of
from modules.patches.hooks import Hooks
from modules.sampling.view import Row

WEAK, LEAST = 0.2, 0.05


@dataclass(frozen=True, kw_only=True)
class Words:
    """What pictures come to (P, T, D), and what no picture comes to (1, T, D)."""

    shown: Tensor
    nothing: Tensor

    def of(self, rows: Sequence[Row]) -> Tensor:
        """What each of these rows is told (N, T, D)."""
        return torch.stack(
            [self.shown[row.picture % len(self.shown)] if row.guided else self.nothing[0] for row in rows]
        )


class IPAdapter:
    """`embedded`: the channels of what it is told of a picture; `whole`: it wants all places of it (B, N, C), not one vector (B, C)."""

    def __init__(
        self, projection: nn.Module, layers: Mapping[int, tuple[Tensor, Tensor]], *, embedded: int, whole: bool
    ) -> None:
        self.module = projection
        self.layers = layers
        self.embedded = embedded
        self.whole = whole

    def words(self, shown: Tensor, nothing: Tensor) -> Words:
        """Of what the vision network says of pictures, and of none."""
        like = next(self.module.parameters())
        made = [self.module(one.to(like.device, like.dtype)) for one in (shown, nothing)]
        return Words(shown=made[0].flatten(1, -2), nothing=made[1].flatten(1, -2))


def attention_layers(unet: Any) -> list[tuple[int, str, Any]]:
    """(number, name, module) of every attention to words, numbered among all attention as IP-Adapters are."""
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    return [(n, name, unet.get_submodule(name)) for n, name in enumerate(names) if name.endswith("attn2")]


@dataclass(frozen=True, kw_only=True)
class ImagePrompt(Turn):
    """A unit at work. `mask` (1, 1, H, W): where it counts."""

    adapter: IPAdapter
    words: Words
    mask: Tensor | None = None

    def attach(self, unet: Any, hook: Hooks, moment: Moment) -> None:
        """To every attention that the adapter has keys for."""
        layers = attention_layers(unet)
        factors = self._factors([name for _, name, _ in layers])
        for number, name, attention in layers:
            if number in self.adapter.layers and factors[name]:
                keys, values = self.adapter.layers[number]
                hook.around(attention, _Beside(self, attention, keys, values, factors[name], moment))

    def _factors(self, names: Sequence[str]) -> dict[str, float]:
        """The weight of each layer, by the transformer that it lies in."""
        blocks = list(dict.fromkeys(name.partition(".transformer_blocks")[0] for name in names))
        order = sorted(blocks, key=lambda name: ("down", "mid", "up").index(name.partition("_")[0]))
        unit = self.unit
        own = unit.advanced_weighting
        wide = len(order) <= 11  # Stable Diffusion XL has eleven such, earlier ones sixteen
        found = [
            own[min(i, len(own) - 1)]
            if own
            else layer_weight(unit.weight_type, i, len(order), unit.weight, unit.composition_weight, wide=wide)
            for i in range(len(order))
        ]
        weights = dict(zip(order, found, strict=True))
        return {name: weights[name.partition(".transformer_blocks")[0]] for name in names}


class _Beside:
    """An attention to the prompt, and to the picture's words beside it."""

    def __init__(
        self, prompt: ImagePrompt, attention: Any, keys: Tensor, values: Tensor, factor: float, moment: Moment
    ) -> None:
        self._prompt = prompt
        self._attention = attention
        self._keys, self._values = keys, values
        self._factor = factor
        self._moment = moment

    def __call__(self, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        found = forward(*args, **kwargs)
        moment, prompt = self._moment, self._prompt
        if not prompt.works(moment):
            return found
        hidden: Tensor = args[0]  # (N, places, C)
        told = prompt.words.of(moment.rows).to(hidden)
        attention = self._attention
        heads = attention.heads

        def split(x: Tensor) -> Tensor:
            return x.unflatten(2, (heads, -1)).transpose(1, 2)

        query = split(attention.to_q(hidden))
        key, value = (split(linear(told, weight.to(hidden))) for weight in (self._keys, self._values))
        seen = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        out = attention.to_out[0]
        added = out(seen.to(hidden.dtype)) - (0 if out.bias is None else out.bias)
        if prompt.mask is not None:
            added = added * places_of(prompt.mask, moment.rows, moment.cell, hidden.shape[1], hidden)
        return found + self._factor * added


def layer_weight(kind: str, i: int, count: int, weight: float, composition: float, *, wide: bool) -> float:
    """The weight of the i-th of so many transformers, by the names of the ComfyUI nodes that these kinds come from. `wide`: of XL,
    where composition lies in the fourth and style in the seventh."""
    way, middle = i / count, abs(i - count / 2) / (count / 2)
    ramps = {"ease in": 1 - way, "ease out": way, "ease in-out": 1 - middle, "reverse in-out": middle}
    if kind in ramps:
        return weight * (LEAST + (1 - LEAST) * ramps[kind])
    third = 0 if i < count / 3 else 2 if i > count * 2 / 3 else 1
    weak = {"weak input": third == 0, "weak middle": third == 1, "weak output": third == 2, "strong middle": third != 1}
    if kind in weak:
        return weight * (WEAK if weak[kind] else 1.0)
    lays_out = i == 3 if wide else i in (4, 5)
    styles = i == 6 if wide else i not in (4, 5, 6, 7, 8)
    every = not lays_out
    return {
        "style transfer": weight * styles,
        "composition": weight * lays_out,
        "strong style transfer": weight * every,
        "style and composition": weight * styles + composition * lays_out,
        "strong style and composition": weight * every + composition * lays_out,
    }.get(kind, weight)
