"""A picture's colours brought to those of another, as A1111's colour correction does it: histograms in CIE Lab, brightness kept."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]

TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
"""sRGB's primaries at white point D65."""
WHITE = np.array([0.950456, 1.0, 1.088754])
LUMA = np.array([0.299, 0.587, 0.114])


def match_colours(image: Image.Image, target: Image.Image) -> Image.Image:
    """The image (RGB) with `target`'s histograms of L, a and b, and then its own brightness again."""
    lab, wanted = _to_lab(_array(image)), _to_lab(_array(target))
    matched = np.stack([_matched(lab[..., i], wanted[..., i]) for i in range(3)], axis=-1)
    coloured = _to_rgb(matched)
    kept = _with_luma(coloured, _array(image) / 255 @ LUMA)
    return Image.fromarray((255 * kept + 1e-6).astype(np.uint8))


def _array(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("RGB"))


def _to_lab(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) sRGB -> L 255 / 100, a + 128, b + 128, in the whole numbers that OpenCV's bytes come of: linear light in 2040ths, XYZ's
    weights in 4096ths, cube roots in 32768ths."""
    values = np.arange(256) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = _shifted(_whole(2040 * linear)[rgb] @ _whole(4096 * TO_XYZ / WHITE[:, None]).T, 12).clip(max=3071)
    t = np.arange(3072) / 2040
    roots = _whole(32768 * np.where(t < 0.008856, t * 7.787 + 16 / 116, np.cbrt(t)))
    x, y, z = np.moveaxis(roots[xyz], -1, 0)
    grey = 128 << 15
    lightness = 296 * y - (16 * 255 * 32768 + 50) // 100  # 116 * 255 / 100
    lab = np.stack([lightness, 500 * (x - y) + grey, 200 * (y - z) + grey], axis=-1)
    return _shifted(lab, 15).clip(0, 255).astype(np.uint8)


def _to_rgb(lab: NDArray[np.uint8]) -> Floats:
    """The reverse, (H, W, 3) in steps of 1/255; linear light in 4095ths."""
    lightness, a, b = np.moveaxis(lab.astype(np.float64), -1, 0)
    y = (lightness * 100 / 255 + 16) / 116
    f = np.stack([y + (a - 128) / 500, y, y - (b - 128) / 200], axis=-1)
    t = np.where(f > 6 / 29, f**3, (f - 16 / 116) * 108 / 841)
    light = (4095 * (t * WHITE @ np.linalg.inv(TO_XYZ).T)).round().clip(0, 4095) / 4095
    rgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return (255 * rgb).round() / 255


def _whole(values: Floats) -> NDArray[np.int64]:
    return np.rint(values).astype(np.int64)


def _shifted(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Divided by 2^bits, rounded."""
    return (values + (1 << (bits - 1))) >> bits


def _matched(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`source` with the histogram of `target`: each value becomes the one below which as much of the target lies."""
    counts, wanted = (np.bincount(part.ravel(), minlength=256) for part in (source, target))
    values = np.flatnonzero(wanted)
    shares = np.cumsum(counts) / source.size
    table = np.interp(shares, np.cumsum(wanted[values]) / target.size, values)
    return table.astype(np.uint8)[source]


def _with_luma(rgb: Floats, luma: Floats) -> Floats:
    """The colours (H, W, 3) at those brightnesses (H, W), clipped towards grey (W3C compositing, 'luminosity')."""
    moved = rgb + (luma - rgb @ LUMA)[..., None]
    grey = (moved @ LUMA)[..., None]
    low, high = moved.min(axis=-1, keepdims=True), moved.max(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(low < 0, grey + (moved - grey) * grey / (grey - low), moved)
        moved = np.where(high > 1, grey + (moved - grey) * (1 - grey) / (high - grey), moved)
    return moved.clip(0, 1)
