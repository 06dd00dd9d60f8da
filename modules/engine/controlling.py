"""A request's ControlNet units in a run: their models loaded, their pictures made ready, their patches set."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from modules.control.hints import as_hint, fitted, perfect_resolution
from modules.control.ip_adapter import ImagePrompt, IPAdapter, Words
from modules.control.kinds import CONTROLNET
from modules.control.models import LoadedControl
from modules.control.networks import ControlNetwork
from modules.control.turns import Clock, Moment
from modules.control.union import BY_TYPE, Union
from modules.control.units import Units, WorkingUnit
from modules.control.vision import look
from modules.core.errors import InputError
from modules.engine.context import Context
from modules.engine.plan import Batch, Plan
from modules.engine.toolbox import Toolbox
from modules.families.model import LoadedModel
from modules.images.reading import open_picture
from modules.patches.hooks import hooks
from modules.requests.control import NONE, ControlUnit
from modules.requests.events import Loading
from modules.requests.pictures import Picture
from modules.sampling.view import View

Pixels = NDArray[np.uint8]

SMALLEST, LARGEST = 64, 2048
"""The resolutions that preprocessors work at, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The part of a picture that is drawn on, and where it is masked; and the whole of both."""

    picture: Image.Image
    mask: Image.Image | None
    whole: Image.Image
    cover: Image.Image | None


class Controls:
    """The active units of one pass. `begun`: the pictures that stand for those a unit lacks."""

    def __init__(
        self, plan: Plan, model: LoadedModel, tools: Toolbox, context: Context, begun: Sequence[Begun], *, hires: bool
    ) -> None:
        self._tools = tools
        self._model = model
        self._begun = begun
        self._hires = hires
        self._clock = Clock()
        self._words: dict[int, Words] = {}
        self._maps: dict[tuple[Any, ...], Pixels] = {}
        self._units = [(n, unit) for n, unit in enumerate(plan.request.control) if unit.active]
        limit = plan.options["control_net_model_cache_size"]
        self._loaded: list[LoadedControl] = []
        for number, unit in self._units:
            _check_model(number, unit, tools)
            self._sources(number, unit)  # a missing picture is told before anything is loaded

            def reading(name: str) -> None:
                context.emit(Loading(name=name))

            self._loaded.append(
                tools.controls.load(
                    unit.model,
                    f"control.{number}.model",
                    model,
                    low_vram=unit.low_vram,
                    limit=max(limit, len(self._units)),
                    on_read=reading,
                )
            )

    def stepped(self, before: Callable[[int], None], steps: int) -> Callable[[int], None]:
        """What is to be told of every step of a run of so many, which tells `before` too."""
        self._clock.steps = max(steps, 1)

        def tell(step: int) -> None:
            self._clock.step = step
            before(step)

        return tell

    @contextmanager
    def patched(self, view: View, batch: Batch, size: tuple[int, int]) -> Iterator[None]:
        """The model's network with all units, for that batch of pictures of width and height `size`."""
        working: list[WorkingUnit] = []
        for (number, unit), loaded in zip(self._units, self._loaded, strict=True):
            if not isinstance(loaded.network, IPAdapter):
                working += self._working(number, unit, loaded, loaded.network, batch, size)
        moment = Moment(cell=self._model.downscale)
        network: Any = self._model.network
        with network.adding(Units(working, view, self._clock, moment)), hooks() as hook:
            for (number, unit), loaded in zip(self._units, self._loaded, strict=True):
                if isinstance(loaded.network, IPAdapter):
                    prompt = self._image_prompt(number, unit, loaded.name, loaded.network, batch, size)
                    prompt.attach(self._model.backbone, hook, moment)
            yield

    def _working(
        self,
        number: int,
        unit: ControlUnit,
        loaded: LoadedControl,
        network: ControlNetwork,
        batch: Batch,
        size: tuple[int, int],
    ) -> Iterator[WorkingUnit]:
        """The unit ready to work, once for each of several pictures that count together."""
        sources = self._sources_of(number, unit, batch)
        if isinstance(network, Union):
            network = network.told(self._union_type(unit), f"control.{number}.union_control_type")
        hints = [as_hint(self._map(number, unit, source, size)) for source in sources]
        groups = [torch.cat(hints)]
        if unit.input_mode == "merge" and len(hints) > 1:
            groups, unit = hints, unit.model_copy(update={"weight": unit.weight / len(hints)})
        for group in groups:
            yield WorkingUnit(
                unit=unit,
                network=network,
                hints=group,
                mask=_mask_of(unit, number, size),
                hires=self._hires,
                settle=loaded.settle,
            )

    def _image_prompt(
        self, number: int, unit: ControlUnit, name: str, adapter: IPAdapter, batch: Batch, size: tuple[int, int]
    ) -> ImagePrompt:
        """The unit's pictures as words; those that count together are all said."""
        if number not in self._words:
            vision = self._tools.controls.vision(adapter, name)
            seen = [look(vision, one[:, :, :3], whole=adapter.whole) for one in self._sources(number, unit)]
            self._words[number] = adapter.words(torch.cat(seen), look(vision, None, whole=adapter.whole))
        words = self._words[number]
        if unit.input_mode == "merge":
            count = len(words.shown)
            shown, nothing = words.shown.flatten(0, 1)[None], words.nothing.repeat(1, count, 1)
            words = Words(shown=shown, nothing=nothing)
        elif unit.input_mode == "batch":
            count = len(words.shown)
            words = replace(words, shown=words.shown[[position % count for position in batch.positions]])
        mask = _mask_of(unit, number, size)
        return ImagePrompt(unit=unit, hires=self._hires, adapter=adapter, words=words, mask=mask)

    def _union_type(self, unit: ControlUnit) -> str:
        """The kind of control that a network for several is told: the user's word, or what the preprocessor makes."""
        if unit.union_control_type != "Unknown":
            return unit.union_control_type
        types = self._tools.catalogue.preprocessor(unit.module).types
        return next((BY_TYPE[kind] for kind in types if kind in BY_TYPE), "Unknown")

    def _sources_of(self, number: int, unit: ControlUnit, batch: Batch) -> list[Pixels]:
        """The unit's pictures for that batch."""
        sources = self._sources(number, unit)
        if unit.input_mode == "batch":
            return [sources[position % len(sources)] for position in batch.positions]
        return sources

    def _sources(self, number: int, unit: ControlUnit) -> list[Pixels]:
        """The unit's pictures, with its mask as alpha where there is one; raises InputError if there are none."""
        field = f"control.{number}.image"
        if unit.pictures:
            mask = open_picture(unit.mask, f"control.{number}.mask").convert("L") if unit.mask else None
            return [pixels_of(open_picture(picture, field), mask) for picture in unit.pictures]
        if self._begun:
            crops = unit.inpaint_crop_input_image
            return [pixels_of(*((one.picture, one.mask) if crops else (one.whole, one.cover))) for one in self._begun]
        raise InputError(
            field, f"{field} is missing: unit {number} has no picture to go by. Send one, or turn the unit off."
        )

    def _map(self, number: int, unit: ControlUnit, source: Pixels, size: tuple[int, int]) -> Pixels:
        """The control map of a picture at that size; made once for all batches."""
        key = (number, size, source.shape, hash(source.tobytes()))
        if key not in self._maps:
            self._maps[key] = fitted(self._detected(number, unit, source, size), *size, unit.resize_mode)
        return self._maps[key]

    def _detected(self, number: int, unit: ControlUnit, source: Pixels, size: tuple[int, int]) -> Pixels:
        """What the unit's preprocessor makes of a picture."""
        preprocessor = self._tools.preprocessors.get(unit.module)
        resolution = unit.processor_res
        if unit.pixel_perfect:
            wanted = perfect_resolution((source.shape[1], source.shape[0]), size, unit.resize_mode)
            resolution = min(max(wanted, SMALLEST), LARGEST)
        found = preprocessor.run(source, resolution, unit.threshold_a, unit.threshold_b)
        if not isinstance(found, np.ndarray):
            raise InputError(
                f"control.{number}.module",
                f"control.{number}.module is {unit.module}, which makes no picture; {unit.model} needs one. Choose another.",
            )
        return found


def _check_model(number: int, unit: ControlUnit, tools: Toolbox) -> None:
    """Raise InputError for a unit without a control model."""
    if unit.model.strip() not in ("", NONE):
        return
    field = f"control.{number}.model"
    entry = tools.catalogue.preprocessor(unit.module, f"control.{number}.module")
    if entry.model_free:
        raise InputError(
            f"control.{number}.module",
            f"control.{number}.module is {entry.name}, which this version cannot draw with yet. Turn the unit off.",
        )
    raise InputError(
        field, f"{field} is None, and {entry.name} alone changes no picture. Choose a model, or turn the unit off."
    )


def controls_of(
    plan: Plan,
    model: LoadedModel,
    tools: Toolbox,
    context: Context,
    begun: Sequence[Begun] = (),
    *,
    hires: bool = False,
) -> Controls | None:
    """The request's units made ready, None without any; raises InputError, UnknownName, ModelFileError before anything is drawn."""
    if not any(unit.active for unit in plan.request.control):
        return None
    return Controls(plan, model, tools, context, begun, hires=hires)


def asked_of_control(plan: Plan, tools: Toolbox) -> list[str]:
    """The fields of units that change how a network computes; a ControlNet only adds to what it computes. Raises UnknownName, ModelFileError."""
    return [
        f"control.{n}"
        for n, unit in enumerate(plan.request.control)
        if unit.active and not _only_adds(unit.model, f"control.{n}.model", tools)
    ]


def _only_adds(model: str, field: str, tools: Toolbox) -> bool:
    """Is that the name of a ControlNet?"""
    return model.strip() not in ("", "None") and tools.controls.kind(model, field).name == CONTROLNET


def named_units(plan: Plan, tools: Toolbox) -> Plan:
    """The plan with its units' models and preprocessors under the names they have here; raises UnknownName."""
    units = []
    for number, unit in enumerate(plan.request.control):
        if unit.active and unit.model.strip() not in ("", "None"):
            unit = unit.model_copy(
                update={"model": tools.controls.files.find(unit.model, f"control.{number}.model").title}
            )
        if unit.active:
            unit = unit.model_copy(update=_named(number, unit, tools))
        units.append(unit)
    return replace(plan, request=plan.request.model_copy(update={"control": tuple(units)}))


def _named(number: int, unit: ControlUnit, tools: Toolbox) -> dict[str, Any]:
    """The preprocessor's own name, and the numbers that -1 stands for."""
    entry = tools.catalogue.preprocessor(unit.module, f"control.{number}.module")
    sliders = (entry.resolution, entry.threshold_a, entry.threshold_b)
    asked = dict(zip(("processor_res", "threshold_a", "threshold_b"), sliders, strict=True))
    settled = {name: slider.settled(getattr(unit, name)) if slider else -1 for name, slider in asked.items()}
    settled["processor_res"] = round(settled["processor_res"])
    return {"module": entry.name, **settled}


def pixels_of(image: Image.Image, mask: Image.Image | None) -> Pixels:
    """(H, W, 3), or with a mask (H, W, 4)."""
    rgb = np.asarray(_over_white(image), np.uint8)
    if mask is None:
        return rgb
    alpha = np.asarray(mask.convert("L").resize(image.size), np.uint8)
    return np.dstack([rgb, alpha])


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert("RGB")


def _mask_of(unit: ControlUnit, number: int, size: tuple[int, int]) -> torch.Tensor | None:
    """(1, 1, H, W): where the unit counts."""
    picture: Picture | None = unit.effective_region_mask
    if picture is None:
        return None
    image = open_picture(picture, f"control.{number}.effective_region_mask").convert("L")
    pixels = fitted(np.asarray(image, np.uint8)[:, :, None].repeat(3, axis=2), *size, unit.resize_mode)
    return torch.from_numpy(pixels[:, :, :1].copy()).permute(2, 0, 1)[None].float() / 255
