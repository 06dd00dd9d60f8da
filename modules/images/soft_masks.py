"""Soft inpainting's masks of the finished picture: where it came out as it was, the original is laid over it.

How far each place went from the original in latent space decides, beside the mask, how opaque the original is there.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from modules.images.resizing import FILL, resize_picture
from modules.requests.img2img import SoftInpainting

Floats = NDArray[np.float64]

REACH, DEVIATION = 2, 1.5  # of the neighbourhood, in latents
SPANS = ((0.9, 1.0), (0.25, 0.75))
"""Parts of a neighbourhood's weight, from its least values to its greatest, that are averaged: first what stands out counts, then what is usual."""
SMOOTHING = 4  # pixels


def soft_cover(soft: SoftInpainting, changing: Floats, distance: Floats, size: tuple[int, int]) -> Image.Image:
    """The mask (L) of that size in pixels, white where the drawn picture shows, from the latent mask and the length of the change, both (h, w)."""
    keeps = 1 - changing.clip(0, 1) ** (soft.mask_blend_scale / 2)
    share = 0.5 * (1 - soft.composite_mask_influence) + keeps * soft.composite_mask_influence
    tolerance = soft.composite_difference_threshold * share / (1.00001 - share)
    for span in SPANS:
        distance = _typical(distance, *span)
    ratio = np.divide(distance, tolerance, out=np.full_like(distance, np.inf), where=tolerance > 0)
    opaque = _smoothed(1 / (1 + ratio**soft.composite_difference_contrast))
    mask = Image.fromarray((255 * (1 - opaque)).astype(np.uint8))
    return resize_picture(mask, FILL, *size).convert("L").filter(ImageFilter.GaussianBlur(SMOOTHING))


def _smoothed(t: Floats) -> Floats:
    """From 0 to 1 with no slope and no bend at the ends: 6 t^5 - 15 t^4 + 10 t^3."""
    return t**3 * (t * (6 * t - 15) + 10)


def _typical(values: Floats, low: float, high: float) -> Floats:
    """Each place's mean of what lies between those parts of its neighbourhood's weight, in order of size; a Gaussian weighs it.

    At least one whole value of the middle of the neighbourhood counts, so that a narrow span is no single far one.
    """
    offsets = range(-REACH, REACH + 1)
    padded = np.pad(values, REACH)
    inside = np.pad(np.ones_like(values), REACH)
    h, w = values.shape
    near, weights = [], []
    for y in offsets:
        for x in offsets:
            part = slice(y + REACH, y + REACH + h), slice(x + REACH, x + REACH + w)
            near.append(padded[part])
            weights.append(inside[part] * np.exp(-(x**2 + y**2) / (2 * DEVIATION**2)))
    return _trimmed(np.stack(near), np.stack(weights), low, high)


def _trimmed(values: Floats, weights: Floats, low: float, high: float) -> Floats:
    """Over (N, h, w): the mean of what lies from `low` to `high` of the weight, widened to a weight of 1 where that is less."""
    order = values.argsort(axis=0)
    values, weights = np.take_along_axis(values, order, 0), np.take_along_axis(weights, order, 0)
    ends = weights.cumsum(axis=0)
    total = ends[-1]
    begin, end = low * total, high * total
    lacking = (1 - (end - begin)).clip(min=0)
    begin, end = begin - lacking / 2, end + lacking / 2
    over, under = (end - total).clip(min=0), (-begin).clip(min=0)
    begin, end = (begin - over).clip(min=0), np.minimum(end + under, total)
    shares = (np.minimum(ends, end) - np.maximum(ends - weights, begin)).clip(min=0)
    return (values * shares).sum(axis=0) / shares.sum(axis=0)
