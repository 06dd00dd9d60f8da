"""Noise that looks like the rest of a picture, as A1111's Outpainting mk2 begins with it.

White noise is given the picture's spectrum: its own power, damped towards high frequencies, times the picture's amplitude to the
power q, with the picture's phase; then the histogram of what is there.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Values = NDArray[np.float64]

WHITE = 1e-3
"""What is less of a mask counts as there."""


def with_matched_noise(image: Image.Image, mask: Image.Image, *, exponent: float, variation: float) -> Image.Image:
    """The picture (RGB) with noise where the mask (L) of its size is white. `exponent`: q, less keeps more detail; `variation`: how
    colourful the noise is, 0 to 1. The noise is the same each time."""
    picture = np.asarray(image.convert("RGB")) / 255
    share = np.asarray(mask.convert("L")) / 255
    empty, there = share > 1e-6, share < WHITE
    if not there.any() or not empty.any() or picture[there].max() == 0:
        return image.convert("RGB")
    weight = share[..., None]
    seen = picture * (1 - weight)
    spectrum = _spectrum(seen / seen.max() + picture.mean() * weight)
    amplitude = np.abs(spectrum)
    phase = np.divide(spectrum, amplitude, out=np.ones_like(spectrum), where=amplitude > 0)
    power = np.abs(_spectrum(_noise(picture.shape, variation))) ** 2
    shaped = _real(power * amplitude**exponent * phase)
    shaped -= shaped.min()
    shaped /= shaped.max() or 1
    for c in range(3):
        shaped[empty, c] = _matched(shaped[empty, c], picture[there, c])
    found = (picture * (1 - weight) + shaped * weight).clip(0, 1)
    return Image.fromarray((255 * found).astype(np.uint8))


def _noise(shape: tuple[int, ...], variation: float) -> Values:
    """(H, W, 3) in [0, 1) and less of it at high frequencies f: 1 / ((1 + f_x^2) (1 + f_y^2))."""
    rows, columns, _ = shape
    noise = np.random.default_rng(0).random(shape)
    noise = variation * noise + (1 - variation) * noise.mean(axis=2, keepdims=True)
    y, x = ((np.arange(n) / n * 2 - 1) * n / min(rows, columns) for n in (rows, columns))
    window = 1 / ((1 + y[:, None] ** 2) * (1 + x**2))
    return _real(_spectrum(noise) * window[..., None])


def _spectrum(values: Values) -> NDArray[np.complex128]:
    """The transform of each channel, both sides with their origin in the middle."""
    return np.fft.ifftshift(np.fft.fft2(np.fft.fftshift(values, (0, 1)), axes=(0, 1), norm="ortho"), (0, 1))


def _real(values: NDArray[np.complex128] | Values) -> Values:
    """The real part of the way back."""
    return np.fft.ifftshift(np.fft.ifft2(np.fft.fftshift(values, (0, 1)), axes=(0, 1), norm="ortho"), (0, 1)).real


def _matched(source: Values, target: Values) -> Values:
    """The source with the target's histogram."""
    _, places, counts = np.unique(source, return_inverse=True, return_counts=True)
    values, wanted = np.unique(target, return_counts=True)
    return np.interp(np.cumsum(counts) / source.size, np.cumsum(wanted) / target.size, values)[places]
