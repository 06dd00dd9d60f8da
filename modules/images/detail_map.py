"""Where a picture has detail, as tiled diffusion's noise inversion looks for it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Values = NDArray[np.float32]

EPSILON = 0.01
"""Of the guided filter: edges much stronger than this, in squared brightness, are kept."""


def detail_map(image: Image.Image, kernel: int) -> Values:
    """(H, W) in [0, 1]: what a guided filter (He et al. 2010) over `kernel` x `kernel` pixels adds to the brightness, in 255ths, as the
    extension keeps it in bytes: what it takes away wraps round, so that all of that counts as detail."""
    brightness = np.asarray(image.convert("L"), np.float32) / np.float32(255)
    mean, square = _mean(brightness, kernel), _mean(np.square(brightness, dtype=np.float32), kernel)
    variance = square - mean * mean
    slope = variance / (variance + EPSILON)
    change = slope * brightness + (mean - slope * mean) - brightness
    return np.asarray(np.trunc(change * 255).astype(np.int64) % 256 / 255, np.float32)


def _mean(values: Values, kernel: int) -> Values:
    """Over a square window, the picture mirrored at its borders without their pixels; even windows reach one further up and left."""
    for axis in (0, 1):
        before, after = kernel // 2, kernel - 1 - kernel // 2
        padding = [(before, after) if i == axis else (0, 0) for i in range(2)]
        wide = np.pad(values, padding, mode="reflect" if values.shape[axis] > 1 else "edge")
        sums = np.cumsum(wide, axis=axis, dtype=np.float64)
        sums = np.concatenate([np.zeros_like(np.take(sums, [0], axis)), sums], axis=axis)
        length = values.shape[axis]
        high = np.take(sums, range(kernel, kernel + length), axis)
        values = ((high - np.take(sums, range(length), axis)) / kernel).astype(np.float32)
    return values
