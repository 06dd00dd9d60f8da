"""Preprocessors as data: their names, sliders and weights, for the page, the API and the queue of downloads."""

import math
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from modules.core.errors import InputError, short

FOLDER = "ControlNetPreprocessor"
"""The kind of model (see modules/core/paths.py) that their weights are."""

RESOLUTION_FIELD, A_FIELD, B_FIELD = "processor_res", "threshold_a", "threshold_b"
"""A unit's fields, as the ControlNet extension calls them."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Slider(_Entry):
    """A number that the user may choose."""

    label: str
    minimum: float
    maximum: float
    default: float
    step: float = 1

    @property
    def api(self) -> dict[str, Any]:
        """As `/controlnet/module_list` tells it."""
        return {
            "name": self.label,
            "value": self.default,
            "min": self.minimum,
            "max": self.maximum,
            "step": self.step,
        }

    def settled(self, given: float) -> float:
        """`given`, or the default where it lies outside, as the extension has it (-1 is how clients ask for the default)."""
        return given if self.minimum <= given <= self.maximum else self.default


RESOLUTION = Slider(label="Resolution", minimum=64, maximum=2048, default=512, step=8)


class WeightFile(_Entry):
    """A file, or with `path` empty a folder as transformers writes it, that a preprocessor needs.

    `file`: its name on this disk. `size`: in bytes, about right; the site tells the exact one. `repo`, `path`: where it is at
    Hugging Face; `url`: where else it is. `others`: names under which the user may have it, or a smaller one of its kin.
    """

    file: str
    size: int
    repo: str = ""
    path: str = ""
    url: str = ""
    others: tuple[str, ...] = ()
    licence: str = ""

    @property
    def is_folder(self) -> bool:
        """Several files that belong together."""
        return bool(self.repo) and not self.path

    @property
    def source(self) -> str:
        """The address that a person can open."""
        if self.url:
            return self.url
        page = f"https://huggingface.co/{self.repo}"
        return f"{page}/resolve/main/{self.path}" if self.path else page


class PreprocessorEntry(_Entry):
    """One preprocessor. `name` is the API's, `label` what users see; both select it, and the `aliases` too.

    `types`: control types (the page's filter) that offer it; those in which it is the first choice are in `first_in`.
    `resolution`: None where no slider is shown; a value that is given all the same is heeded. `model_free`: a unit with it has no model
    of its own. `mask`: it needs a mask, as alpha of the picture. `gives`: a picture, tensors (an embedding), or text.
    """

    name: str
    label: str
    aliases: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    first_in: tuple[str, ...] = ()
    resolution: Slider | None = None
    threshold_a: Slider | None = None
    threshold_b: Slider | None = None
    weights: tuple[WeightFile, ...] = ()
    model_free: bool = False
    mask: bool = False
    gives: Literal["image", "tensors", "text"] = "image"

    @property
    def sliders(self) -> tuple[Slider, ...]:
        """Those that are shown, in the order of the API."""
        return tuple(s for s in (self.resolution, self.threshold_a, self.threshold_b) if s is not None)

    def settled(self, resolution: float, a: float, b: float) -> tuple["Values", list[str]]:
        """The values to work with, and a sentence for each that was given but lies outside (it is the default then).

        Raises InputError for what is no number.
        """
        said: list[str] = []
        found = []
        for field, slider, given in (
            (RESOLUTION_FIELD, self.resolution or RESOLUTION, resolution),
            (A_FIELD, self.threshold_a, a),
            (B_FIELD, self.threshold_b, b),
        ):
            if not math.isfinite(given):
                raise InputError(field, f"{field} is {given}: it must be a finite number. Send -1 for the default.")
            value = slider.settled(given) if slider else 0.0
            if slider and value != given and given != -1:
                limits = f"{slider.minimum:g} to {slider.maximum:g}"
                said.append(
                    f"{self.name}: {field} is {short(f'{given:g}')}, outside {limits}; it is {value:g} instead."
                )
            found.append(value)
        return Values(resolution=round(found[0]), a=found[1], b=found[2]), said


class Values(_Entry):
    """What a preprocessor works with: resolution in pixels of the shorter side, and its thresholds (0 where it has none)."""

    resolution: int
    a: float
    b: float


def find_preprocessor(name: str, known: Iterable[PreprocessorEntry]) -> PreprocessorEntry | None:
    """The one of that name or label, without regard to case."""
    folded = name.strip().casefold()
    return next((e for e in known if folded in (n.casefold() for n in (e.name, e.label, *e.aliases))), None)
