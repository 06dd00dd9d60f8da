"""The pictures that a request's ControlNet units go by: read, with their masks, and as control maps of the size that is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from modules.control.hints import fitted, perfect_resolution
from modules.control.preprocessors.registry import Preprocessors
from modules.core.errors import InputError
from modules.engine.plan import Batch
from modules.images.reading import open_picture
from modules.requests.control import ControlUnit
from modules.requests.pictures import Picture

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


class ControlPictures:
    """Of all units of one pass. `begun`: the pictures that stand for those a unit lacks."""

    def __init__(self, preprocessors: Preprocessors, begun: Sequence[Begun]) -> None:
        self._preprocessors = preprocessors
        self._begun = begun
        self._maps: dict[tuple[Any, ...], Pixels] = {}

    def of_batch(self, number: int, unit: ControlUnit, batch: Batch) -> list[Pixels]:
        """The unit's pictures for that batch."""
        sources = self.of(number, unit)
        if unit.input_mode == "batch":
            return [sources[position % len(sources)] for position in batch.positions]
        return sources

    def of(self, number: int, unit: ControlUnit) -> list[Pixels]:
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

    def map(self, number: int, unit: ControlUnit, source: Pixels, size: tuple[int, int]) -> Pixels:
        """The control map of a picture at that size; made once for all batches."""
        key = (number, size, source.shape, hash(source.tobytes()))
        if key not in self._maps:
            self._maps[key] = fitted(self._detected(number, unit, source, size), *size, unit.resize_mode)
        return self._maps[key]

    def shown(self, number: int, unit: ControlUnit) -> list[Pixels]:
        """The maps made so far that are shown after the pictures; of pictures in turn, none."""
        if unit.input_mode == "batch" or not unit.save_detected_map:
            return []
        return [seen(one) for key, one in self._maps.items() if key[0] == number]

    def _detected(self, number: int, unit: ControlUnit, source: Pixels, size: tuple[int, int]) -> Pixels:
        """What the unit's preprocessor makes of a picture."""
        preprocessor = self._preprocessors.get(unit.module)
        resolution = unit.processor_res
        if unit.pixel_perfect:
            wanted = perfect_resolution((source.shape[1], source.shape[0]), size, unit.resize_mode)
            resolution = min(max(wanted, SMALLEST), LARGEST)
        try:
            found = preprocessor.run(source, resolution, unit.threshold_a, unit.threshold_b)
        except InputError as error:
            field = f"control.{number}.image" if error.field == "image" else error.field
            raise InputError(field, error.message) from error
        if not isinstance(found, np.ndarray):
            raise InputError(
                f"control.{number}.module",
                f"control.{number}.module is {unit.module}, which makes no picture; {unit.model} needs one. Choose another.",
            )
        return found


def pixels_of(image: Image.Image, mask: Image.Image | None) -> Pixels:
    """(H, W, 3), or with a mask (H, W, 4)."""
    rgb = np.asarray(_over_white(image), np.uint8)
    if mask is None:
        return rgb
    alpha = np.asarray(mask.convert("L").resize(image.size), np.uint8)
    return np.dstack([rgb, alpha])


def seen(found: Pixels) -> Pixels:
    """A map as it is shown: (H, W, 3), half white over what its alpha covers."""
    if found.shape[2] < 4:
        return found
    cover = found[:, :, 3:].astype(np.uint32)
    return ((found[:, :, :3] * (510 - cover) + 255 * cover) // 510).astype(np.uint8)


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert("RGB")


def mask_of(unit: ControlUnit, number: int, size: tuple[int, int]) -> torch.Tensor | None:
    """(1, 1, H, W): where the unit counts."""
    picture: Picture | None = unit.effective_region_mask
    if picture is None:
        return None
    image = open_picture(picture, f"control.{number}.effective_region_mask").convert("L")
    pixels = fitted(np.asarray(image, np.uint8)[:, :, None].repeat(3, axis=2), *size, unit.resize_mode)
    return torch.from_numpy(pixels[:, :, :1].copy()).permute(2, 0, 1)[None].float() / 255
