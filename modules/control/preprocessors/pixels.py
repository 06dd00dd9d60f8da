"""Pixels as preprocessors take and give them: uint8 (H, W, 3), RGB."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from modules.core.errors import InputError

Pixels = NDArray[np.uint8]

MAX_PIXELS = 2**23
"""That a picture brought to a resolution may have: two squares of the largest resolution, 2048. Longer strips become smaller."""

MAX_SIDE = 16384
"""And how long its longer side may be."""

GRID = 64
"""Sides of what networks see are multiples of it, as in the extension."""


def checked(image: object) -> Pixels:
    """A picture as uint8 (H, W, 3) or (H, W, 4); raises InputError for what is none."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise InputError("image", "image is no array of bytes (height, width, channels). Send a picture.")
    pixels = image[:, :, None] if image.ndim == 2 else image
    height, width, channels = pixels.shape
    if channels not in (1, 3, 4) or not height or not width:
        raise InputError(
            "image",
            f"image is {width} x {height} with {channels} channels: it must have a pixel, and 1, 3 or 4 channels.",
        )
    return np.repeat(pixels, 3, axis=2) if channels == 1 else np.ascontiguousarray(pixels)


def rgb(pixels: Pixels) -> Pixels:
    """(H, W, 3); what is transparent lies over white."""
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.shape[2] != 4:
        return pixels
    alpha = pixels[:, :, 3:].astype(np.float32) / 255
    return to_bytes(pixels[:, :, :3] * alpha + 255 * (1 - alpha))


def to_bytes(values: NDArray[np.floating]) -> Pixels:
    """Values 0 to 255, cut off below the point."""
    return np.nan_to_num(values).clip(0, 255).astype(np.uint8)


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """At that size: averaged where it becomes smaller, cubic where larger. One channel and 3 and 4 alike."""
    if pixels.shape[:2] == (height, width):
        return pixels
    smaller = width * height < pixels.shape[0] * pixels.shape[1]
    way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=way), dtype=pixels.dtype)


def size_at(pixels: Pixels, resolution: int) -> tuple[int, int]:
    """Width and height that make the shorter side `resolution`; less of both where that would be too many."""
    height, width = pixels.shape[:2]
    scale = resolution / min(height, width)
    scale = min(scale, (MAX_PIXELS / (height * width)) ** 0.5, MAX_SIDE / max(height, width))
    return max(round(width * scale), 1), max(round(height * scale), 1)


def at_resolution(pixels: Pixels, resolution: int) -> Pixels:
    """The picture, RGB, with that resolution."""
    return resized(rgb(pixels), *size_at(pixels, resolution))


def padded(pixels: Pixels) -> Pixels:
    """With its last row and column repeated until both sides are multiples of GRID."""
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, -height % GRID), (0, -width % GRID), (0, 0)), mode="edge")


def on_grid(image: Pixels, resolution: int, look: Callable[[Pixels], NDArray[np.uint8]]) -> Pixels:
    """What `look` makes of the picture at that resolution, padded; without what it makes of the padding, RGB."""
    small = at_resolution(image, resolution)
    found = look(padded(small))
    return rgb(np.ascontiguousarray(found[: small.shape[0], : small.shape[1]]))
