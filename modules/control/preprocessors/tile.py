"""Less of a picture, to be drawn anew: tile_*, blur_gaussian and the colour grid of T2I-Adapter."""

import cv2
import numpy as np

from modules.control.preprocessors.pixels import Pixels, at_resolution, rgb
from modules.control.preprocessors.preprocessor import Look, Work
from modules.requests.preprocessors import RESOLUTION, PreprocessorEntry, Slider

UNCHANGED = 1.1
"""Rates below it leave the picture as it is."""

CELL = 64
"""Side of a cell of the colour grid in pixels."""

VARIATION = Slider(label="Variation", minimum=3, maximum=32, default=8)


def resampled(work: Work) -> Pixels:
    """The picture, smaller by a rate."""
    pixels, rate = rgb(work.image), work.values.a
    if rate < UNCHANGED:
        return pixels
    height, width = pixels.shape[:2]
    size = max(int(width / rate), 1), max(int(height / rate), 1)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def kept(work: Work) -> Pixels:
    """The picture: what is drawn from it gets its colours afterwards."""
    return rgb(work.image)


def blurred(work: Work) -> Pixels:
    """The picture under a Gaussian of that deviation in pixels."""
    pixels = at_resolution(work.image, work.resolution)
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), work.values.a), np.uint8)


def colour_grid(work: Work) -> Pixels:
    """Cells of one colour each."""
    pixels = rgb(work.image)
    height, width = pixels.shape[:2]
    cells = max(width // CELL, 1), max(height // CELL, 1)
    small = cv2.resize(pixels, cells, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (
        PreprocessorEntry(
            name="tile_resample",
            label="tile_resample",
            types=("Tile",),
            first_in=("Tile",),
            threshold_a=Slider(label="Down Sampling Rate", minimum=1, maximum=8, default=1, step=0.01),
        ),
        resampled,
    ),
    (
        PreprocessorEntry(
            name="tile_colorfix",
            label="tile_colorfix",
            types=("Tile",),
            threshold_a=VARIATION,
        ),
        kept,
    ),
    (
        PreprocessorEntry(
            name="tile_colorfix+sharp",
            label="tile_colorfix+sharp",
            types=("Tile",),
            threshold_a=VARIATION,
            threshold_b=Slider(label="Sharpness", minimum=0, maximum=2, default=1, step=0.01),
        ),
        kept,
    ),
    (
        PreprocessorEntry(
            name="blur_gaussian",
            label="blur_gaussian",
            types=("Tile",),
            resolution=RESOLUTION,
            threshold_a=Slider(label="Sigma", minimum=0.01, maximum=64, default=9, step=0.01),
        ),
        blurred,
    ),
    (
        PreprocessorEntry(
            name="color",
            label="t2ia_color_grid",
            types=("T2I-Adapter",),
            resolution=RESOLUTION,
        ),
        colour_grid,
    ),
)
