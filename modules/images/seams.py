"""Borders between what stays of a picture and what was drawn beside it, made invisible."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]

FAR = (24, 8)  # pixels: by how much what stays was changed is carried over the border from afar
NEAR = (12, 4, 1)  # pixels: then what is left of the step at the border itself is taken away
LEAST = 0.02  # of what is around: further away nothing is changed


def matched(drawn: Image.Image, original: Image.Image, mask: Image.Image) -> Image.Image:
    """`drawn`, shifted in colour where the mask (L) is white so that it meets the original there without a step; RGB.

    Both hold the same where the mask is black, but for what decoding changed: that difference is carried over the border, the less
    the further away; so is the step that is left between neighbours. All three have one size.
    """
    new, old = (np.asarray(image.convert("RGB"), dtype=np.float32) for image in (drawn, original))
    known = (np.asarray(mask.convert("L")) == 0).astype(np.float32)[:, :, None]
    if not known.any() or known.all():
        return drawn.convert("RGB")
    shift = _spread(old - new, known, FAR)
    neighbours, colours = _beside(known), _beside(old * known)
    edge = ((neighbours > 0) & (known == 0)).astype(np.float32)
    step = (colours / np.maximum(neighbours, 1) - new - shift) * edge
    shift += _spread(step, edge, NEAR)
    found = np.where(known > 0, new, new + shift)
    return Image.fromarray(np.clip(np.rint(found), 0, 255).astype(np.uint8))


def _spread(difference: Field, where: Field, reaches: tuple[int, ...]) -> Field:
    """A difference (H, W, C) known at some places (H, W, 1), carried to those around them."""
    shift = np.zeros_like(difference)
    for reach in reaches:
        weight = np.maximum(smoothed(where, reach), LEAST)
        shift += smoothed((difference - shift) * where, reach) / weight
    return shift


def _beside(values: Field) -> Field:
    """The sum of the four neighbours of each pixel."""
    wide = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    return wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]


def smoothed(values: Field, reach: int) -> Field:
    """(H, W, C) under something near a Gaussian: three means over 2 * reach + 1 pixels, the border's values going on outside."""
    for _ in range(3):
        for axis in (0, 1):
            values = _mean(values, reach, axis)
    return values


def _mean(values: Field, reach: int, axis: int) -> Field:
    length = values.shape[axis]
    padding = [(reach + 1, reach) if i == axis else (0, 0) for i in range(values.ndim)]
    sums = np.cumsum(np.pad(values, padding, mode="edge"), axis=axis, dtype=np.float64)
    high = np.take(sums, range(2 * reach + 1, 2 * reach + 1 + length), axis=axis)
    low = np.take(sums, range(length), axis=axis)
    return ((high - low) / (2 * reach + 1)).astype(np.float32)
