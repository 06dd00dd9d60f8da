"""Conditions of Composer (arXiv:2302.09778) that need no network: colour palette, intensity, masking."""

import cv2
import numpy as np
from numpy.typing import NDArray

from modules.control.preprocessors.pixels import Pixels, at_resolution, rgb
from modules.control.preprocessors.preprocessor import Look, Work
from modules.requests.preprocessors import RESOLUTION, PreprocessorEntry, Slider

HUES, SATURATIONS, LIGHTS, DEVIATION = 11, 5, 5, 10.0
"""How the paper divides CIELab, and by how much it smooths the histogram (its section on colour)."""

SMALL = 128
"""Pixels of the shorter side of the copy whose colours are counted."""


def palette_colours() -> NDArray[np.float32]:
    """The histogram's colours (132, 3), RGB 0 to 1: each hue at full strength, paler in 5 steps and darker in 5, and 11 greys."""
    pale, dark = np.linspace(0.1, 0.6, SATURATIONS), np.linspace(0.8, 0.3, LIGHTS)
    rows = [*((s, 1.0) for s in pale), (1.0, 1.0), *((1.0, v) for v in dark)]
    hues = np.linspace(0, 360, HUES, endpoint=False)
    hsv = np.array([[(hue, s, v) for hue in hues] for s, v in rows], np.float32)
    colours = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)).reshape(-1, 3)
    greys = np.repeat(np.linspace(0, 1, HUES, dtype=np.float32)[:, None], 3, axis=1)
    return np.concatenate([colours, greys]).astype(np.float32)


def histogram(pixels: Pixels) -> NDArray[np.float32]:
    """The share (132,) of each of those colours in an RGB picture; a pixel counts for all that are near it in CIELab."""
    lab = _lab(rgb(pixels).reshape(-1, 3) / np.float32(255))
    places = _lab(palette_colours())
    near = ((lab[:, None] - places[None]) ** 2).sum(axis=2)
    near -= near.min(axis=1, keepdims=True)  # the nearest counts, however far it is
    weights = np.exp(-near / (2 * DEVIATION**2))
    return np.asarray((weights / weights.sum(axis=1, keepdims=True)).mean(axis=0), np.float32)


def _lab(colours: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(colours[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0], np.float32)


def palette(work: Work) -> Pixels:
    """The commonest colours as stripes, each as wide as its share, at the picture's shape."""
    shown = at_resolution(work.image, work.resolution)
    scale = SMALL / min(shown.shape[:2])
    small = at_resolution(shown, SMALL) if scale < 1 else shown
    shares = histogram(small)
    order = np.argsort(-shares, kind="stable")[: round(work.values.a)]
    ends = np.cumsum(shares[order]) / max(float(shares[order].sum()), 1e-9)
    height, width = shown.shape[:2]
    which = np.searchsorted(ends, (np.arange(width) + 0.5) / width).clip(0, len(order) - 1)
    row = (palette_colours()[order][which] * 255).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(row, (height, width, 3)))


def intensity(work: Work) -> Pixels:
    """The picture in greys."""
    return rgb(np.asarray(cv2.cvtColor(at_resolution(work.image, work.resolution), cv2.COLOR_RGB2GRAY), np.uint8))


def masking(work: Work) -> Pixels:
    """What the mask leaves of the picture, black elsewhere; the mask goes along as alpha."""
    kept = work.image[:, :, 3:] < 128
    return np.concatenate([np.where(kept, work.image[:, :, :3], 0), work.image[:, :, 3:]], axis=2)


PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (
        PreprocessorEntry(
            name="composer_palette",
            label="composer_palette (colours as stripes)",
            resolution=RESOLUTION,
            threshold_a=Slider(label="Colours", minimum=1, maximum=132, default=16),
        ),
        palette,
    ),
    (
        PreprocessorEntry(
            name="composer_intensity", label="composer_intensity", types=("Recolor",), resolution=RESOLUTION
        ),
        intensity,
    ),
    (PreprocessorEntry(name="composer_masking", label="composer_masking", types=("Inpaint",), mask=True), masking),
)
