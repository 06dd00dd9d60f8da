"""Masks of pictures, white (255) where something is to be drawn anew, as A1111 reads, blurs and uses them."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from modules.images.resizing import CROP, resize_picture

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

OPAQUE = (255, 255)
FILLS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""A1111's radii of blur in pixels, and how often each is laid over the last, when it fills a hole with the colours around it."""


def mask_of(image: Image.Image, *, rounded: bool) -> Image.Image:
    """The picture as a mask, mode L: its alpha where it has any, black or white if `rounded`; else its brightness."""
    image = image.convert("RGBA") if image.mode in ("LA", "PA") or "transparency" in image.info else image
    if image.mode != "RGBA" or image.getchannel("A").getextrema() == OPAQUE:
        return image.convert("L")
    alpha = image.getchannel("A")
    return alpha.point([255 * (value > 128) for value in range(256)]) if rounded else alpha


def blurred(mask: Image.Image, sigma_x: int, sigma_y: int) -> Image.Image:
    """A mask (L) under a Gaussian of those deviations in pixels, cut off at 2.5 of them, mirrored at the border, rounded after each axis."""
    values = np.asarray(mask)
    for axis, sigma in ((1, sigma_x), (0, sigma_y)):
        if sigma > 0:
            values = _convolved(values, _weights(sigma), axis)
    return Image.fromarray(values)


def _weights(sigma: float) -> list[int]:
    """A Gaussian's weights as whole 256ths that make 256: what is lost by rounding goes to the next one inwards."""
    reach = int(2.5 * sigma + 0.5)
    exact = [math.exp(-(x**2) / (2 * sigma**2)) for x in range(-reach, reach + 1)]
    scale = 256 / sum(exact)
    side: list[int] = []
    lost = 0.0
    for weight in exact[:reach]:
        wanted = weight * scale + lost
        side.append(round(wanted))
        lost = wanted - side[-1]
    return [*side, 256 - 2 * sum(side), *reversed(side)]


def _convolved(values: NDArray[np.uint8], weights: list[int], axis: int) -> NDArray[np.uint8]:
    """The sum of `values` shifted along an axis by those 256ths, rounded."""
    reach, length = len(weights) // 2, values.shape[axis]
    padding = [(reach, reach) if i == axis else (0, 0) for i in range(values.ndim)]
    wide = np.pad(values, padding, mode="reflect" if length > 1 else "edge").astype(np.uint32)
    total = np.zeros(values.shape, np.uint32)
    for i, weight in enumerate(weights):
        total += weight * wide.take(range(i, i + length), axis)
    return ((total + 128) >> 8).astype(np.uint8)


def masked_region(mask: Image.Image, padding: int, width: int, height: int) -> Box | None:
    """The part of the picture that holds all that is not black, with `padding` around it, grown to the shape width x height
    as far as the picture goes; None for a black mask."""
    box = mask.getbbox()
    if box is None:
        return None
    left, top = max(box[0] - padding, 0), max(box[1] - padding, 0)
    right, bottom = min(box[2] + padding, mask.width), min(box[3] + padding, mask.height)
    if (right - left) / (bottom - top) > width / height:
        top, bottom = _grown(top, bottom, (right - left) / (width / height), mask.height)
    else:
        left, right = _grown(left, right, (bottom - top) * (width / height), mask.width)
    return left, top, right, bottom


def _grown(low: int, high: int, wanted: float, limit: int) -> tuple[int, int]:
    """The span low to high, grown to that length about its middle, moved and then cut so that it lies in 0 to limit."""
    more = int(wanted - (high - low))
    low, high = low - more // 2, high + more - more // 2
    if high >= limit:
        low, high = low - (high - limit), limit
    if low < 0:
        low, high = 0, high - low
    return low, min(high, limit)


def without(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture as RGBA, transparent where the mask is white."""
    return _rest(image, mask).convert("RGBA")


def _rest(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The same with colours multiplied by their alpha."""
    rest = Image.new("RGBa", image.size)
    rest.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask.convert("L")))
    return rest


def cut_out(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture as RGBA, transparent where the mask is black: what `without` leaves out."""
    return without(image, ImageOps.invert(mask.convert("L")))


def filled(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture with what the mask covers filled by the colours around it, RGB."""
    rest = _rest(image, mask)
    result = Image.new("RGBA", image.size)
    for radius, times in FILLS:
        layer = rest.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            result.alpha_composite(layer)
    return result.convert("RGB")


def pasted(image: Image.Image, region: Box, size: tuple[int, int]) -> Image.Image:
    """A transparent picture of that size with the image brought into the region of it, RGBA."""
    left, top, right, bottom = region
    whole = Image.new("RGBA", size)
    whole.paste(resize_picture(image, CROP, right - left, bottom - top), (left, top))
    return whole


def overlaid(image: Image.Image, overlay: Image.Image, region: Box | None = None) -> Image.Image:
    """The image, at `region` of the overlay's size if there is one, with the overlay (RGBA) above it; RGB."""
    whole = pasted(image, region, overlay.size) if region else image.convert("RGBA")
    whole.alpha_composite(overlay)
    return whole.convert("RGB")
