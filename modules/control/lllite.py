"""ControlNet-LLLite (kohya-ss's): small networks beside a U-Net's layers, each of which changes what its layer is given by the control picture.

Each of them: `conditioning1`, convolutions without overlap from the picture (H, W, 3) in [-1, 1] down to the layer's places;
x + up(relu(mid([picture, relu(down(x))]))).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, linear, relu

from modules.control.turns import CONTROL_FIRST, Moment, Turn, cut, grid_of, places_of
from modules.core.errors import InputError, ModelFileError
from modules.devices.choice import Compute
from modules.families.model import LoadedModel
from modules.networks.original_names import original_places
from modules.patches.hooks import Hooks
from modules.sampling.view import Row

PREFIX = "lllite_unet_"
_NAME = re.compile(r"(lllite_\w+)\.((conditioning1)\.(\d+)|(down|mid|up)\.0)\.(weight|bias)")

Layer = tuple[Tensor, Tensor]  # weight and bias


@dataclass(frozen=True, kw_only=True)
class Lite:
    """The network beside one layer."""

    picture: Sequence[Layer]
    down: Layer
    mid: Layer
    up: Layer

    @property
    def width(self) -> int:
        """Channels that the layer is given."""
        return self.down[0].shape[1]

    def seen(self, hint: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, E, h, w)."""
        weight = self.picture[0][0]
        x = (hint * 2 - 1).to(weight)
        for n, (weight, bias) in enumerate(self.picture):
            x = conv2d(relu(x) if n else x, weight, bias, stride=weight.shape[-2:])
        return x

    def change(self, x: Tensor, picture: Tensor) -> Tensor:
        """What is added to a layer's places x (N, places, C), with the picture at them (N, places, E)."""
        layers = [(weight.flatten(1).to(x), bias.to(x)) for weight, bias in (self.down, self.mid, self.up)]
        down, mid, up = layers
        both = torch.cat([picture.to(x), relu(linear(x, *down))], dim=2)
        return linear(relu(linear(both, *mid)), *up)


class LLLite:
    """`layers` by the names that the file has for the U-Net's. `module` holds nothing: weights this small stay on the device."""

    def __init__(self, layers: Mapping[str, Lite]) -> None:
        self.layers = layers
        self.module = nn.Identity()

    def places(self, model: LoadedModel, name: str, field: str) -> dict[Any, Lite]:
        """The modules of its U-Net that they belong to; raises InputError with counts where not all of them fit."""
        table = module_names(model)
        found = {}
        for key, lite in self.layers.items():
            module = table.get(key)
            if module is not None and _channels(module) == lite.width:
                found[module] = lite
        if len(found) < len(self.layers):
            raise InputError(
                field,
                f'{field} is "{name}", of which {len(found)} of {len(self.layers)} modules fit the U-Net of "{model.name}". '
                "It was made for another: choose one for this checkpoint, or another checkpoint.",
            )
        return found


def build_lllite(tensors: Mapping[str, Tensor], compute: Compute, file: Path) -> LLLite:
    """Its small networks; raises ModelFileError for one that lacks a part, or whose parts do not fit each other."""
    parts: dict[str, dict[str, dict[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        if match := _NAME.fullmatch(name):
            layers = parts.setdefault(match[1], {})
            layers.setdefault(match[2], {})[match[6]] = tensor.to(compute.device, compute.dtype)
    whole = {}
    for name, layers in parts.items():
        try:
            pairs = {part: (layer["weight"], layer["bias"]) for part, layer in layers.items()}
            order = sorted((part for part in pairs if "." in part and part.startswith("cond")), key=_number)
            lite = Lite(
                picture=[pairs[part] for part in order], **{part: pairs[f"{part}.0"] for part in ("down", "mid", "up")}
            )
        except KeyError as error:
            raise ModelFileError(f'"{file.name}" lacks {error.args[0]} of {name}. Download it again.') from error
        if not _agrees(lite):
            raise ModelFileError(f'"{file.name}" holds {name}, whose parts do not fit each other. Download it again.')
        whole[name] = lite
    if not whole:
        raise ModelFileError(
            f'"{file.name}" holds no ControlNet-LLLite for a U-Net. Choose another model for this unit.'
        )
    return LLLite(whole)


def _number(part: str) -> int:
    return int(part.rpartition(".")[2])


def _agrees(lite: Lite) -> bool:
    convolutions = [weight for weight, _ in lite.picture]
    if not convolutions or any(weight.ndim != 4 for weight in convolutions):
        return False
    chain = [3, *(weight.shape[0] for weight in convolutions)]
    down, mid, up = lite.down[0], lite.mid[0], lite.up[0]
    return (
        all(weight.shape[1] == seen for weight, seen in zip(convolutions, chain, strict=False))
        and mid.shape[1] == chain[-1] + down.shape[0]
        and up.shape[:2] == (down.shape[1], mid.shape[0])
    )


def module_names(model: LoadedModel) -> dict[str, Any]:
    """The layers of its U-Net by the names that such files have for them: CompVis's and diffusers', dots as underscores."""
    unet = model.backbone
    found = {}
    for theirs, (ours,) in original_places(model.family, unet).items():
        module = unet.get_submodule(ours)
        if _channels(module) and not ours.endswith(("attn2.to_k", "attn2.to_v")):  # those are given words
            for name in (theirs, ours):
                found[PREFIX + name.replace(".", "_")] = module
    return found


def _channels(module: Any) -> int:
    return getattr(module, "in_features", 0) or getattr(module, "in_channels", 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class LiteUnit(Turn):
    """A unit at work. `hints` (P, 3, H, W), one a picture or one for all; `mask` (1, 1, H, W): where it counts."""

    layers: Mapping[Any, Lite]
    hints: Tensor
    mask: Tensor | None = None
    kept: dict[Any, Tensor] = field(default_factory=dict)

    def attach(self, unet: Any, hook: Hooks, moment: Moment) -> None:
        """To every layer that it has a network for."""
        for layer, lite in self.layers.items():
            hook.before(layer, partial(self._changed, layer, lite, moment))

    def _changed(
        self, layer: Any, lite: Lite, moment: Moment, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if not self.works(moment):
            return None
        x: Tensor = args[0]
        if x.ndim == 4:
            places = self._change(layer, lite, moment, x.flatten(2).transpose(1, 2))
            return (x + places.transpose(1, 2).unflatten(2, x.shape[2:]), *args[1:]), kwargs
        own = moment.own or x.shape[1]
        changed = x[:, :own] + self._change(layer, lite, moment, x[:, :own])
        return (torch.cat([changed, x[:, own:]], dim=1), *args[1:]), kwargs

    def _change(self, layer: Any, lite: Lite, moment: Moment, x: Tensor) -> Tensor:
        """What is added to a layer's places (N, places, C)."""
        seen = torch.cat([self._seen(layer, lite, row, moment.cell, x.shape[1]) for row in moment.rows])
        return lite.change(x, seen) * self._factors(moment, x)

    def _seen(self, layer: Any, lite: Lite, row: Row, cell: int, places: int) -> Tensor:
        """(1, places, E): the picture as that layer's network sees it; worked out once."""
        key = (layer, row.picture % len(self.hints), row.box)
        if key not in self.kept:
            hint = cut(self.hints, row, cell)
            height, width = hint.shape[-2:]
            size = grid_of(height // cell, width // cell, places)
            seen = lite.seen(hint)
            if seen.shape[-2:] != size:  # of sizes that are halved unevenly
                seen = interpolate(seen, size=size, mode="nearest-exact")
            self.kept[key] = seen.flatten(2).transpose(1, 2)
        return self.kept[key]

    def _factors(self, moment: Moment, like: Tensor) -> Tensor:
        """(N, places or 1, 1): how much it counts."""
        alone = self.unit.control_mode == CONTROL_FIRST
        weights = [self.unit.weight if row.guided or not alone else 0.0 for row in moment.rows]
        factors = like.new_tensor(weights).view(-1, 1, 1)
        if self.mask is not None:
            factors = factors * places_of(self.mask, moment.rows, moment.cell, like.shape[1], like)
        return factors
