"""What a larger picture begins with: the old one, around it its colours with noise as fine as its own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from modules.core.errors import InputError, short
from modules.images.masks import filled

SIDES = ("left", "right", "up", "down")
MOST = 1024 + 8  # pixels at a side, with what rounding to multiples of 8 adds
OPAQUE = 128  # of 255: what is less has to be drawn
FINE = 2  # pixels: what a blur of that radius takes away counts as a picture's grain
FLAT = (128, 128, 128)  # where there is nothing to go by
GRAIN = 40.0  # of 255, the noise's deviation there


def margins_of(said: Any) -> dict[str, int]:
    """The pixels to add at left, right, up and down; raises InputError unless there are some, of a size that can be drawn."""
    asked = said.get("by") if isinstance(said, Mapping) else None
    found: dict[str, Any] = {side: asked.get(side, 0) if isinstance(asked, Mapping) else None for side in SIDES}
    for side, pixels in found.items():
        if type(pixels) is not int or not 0 <= pixels <= MOST:
            raise InputError(
                "outpaint", f"outpaint {side} is {short(pixels)}: it must be a whole number of pixels, at most {MOST}."
            )
    if not any(found.values()):
        raise InputError("outpaint", "outpaint names no side to enlarge. Choose one, and by how many pixels.")
    return found


def enlarged(image: Image.Image, *, left: int, right: int, up: int, down: int) -> Image.Image:
    """The picture (RGBA) with that many empty pixels around it."""
    whole = Image.new("RGBA", (image.width + left + right, image.height + up + down))
    whole.paste(image.convert("RGBA"), (left, up))
    return whole


def emptied(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture (RGBA) with nothing where the mask (L) of its size is white."""
    found = image.copy()
    found.putalpha(ImageChops.subtract(image.getchannel("A"), mask))
    return found


def begun(image: Image.Image, seed: int = 0) -> tuple[Image.Image, Image.Image]:
    """The picture (RGB) with its empty places filled, and the mask (L) of these, white.

    They take the colours of what is nearest, and of its grain: the same numbers in another order, the same for one seed.
    """
    whole = image.convert("RGBA")
    empty = np.asarray(whole.getchannel("A")) < OPAQUE
    mask = Image.fromarray((empty * 255).astype(np.uint8))
    random = np.random.default_rng(seed)
    if empty.all():
        noise = random.normal(0, GRAIN, (*empty.shape, 3)) + FLAT
        return _picture(noise), mask
    colours = filled(whole.convert("RGB"), mask)
    base = np.asarray(colours, dtype=np.float32)
    grain = base - np.asarray(colours.filter(ImageFilter.GaussianBlur(FINE)), dtype=np.float32)
    samples = grain[~empty]
    noise = samples[random.integers(0, len(samples), int(empty.sum()))]
    found = base.copy()
    found[empty] += noise
    return _picture(found), mask


def _picture(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
