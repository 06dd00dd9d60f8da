"""Edges by Canny's detector."""

import cv2
import numpy as np

from modules.control.preprocessors.pixels import Pixels, on_grid
from modules.control.preprocessors.preprocessor import Look, Work
from modules.requests.preprocessors import RESOLUTION, PreprocessorEntry, Slider


def canny(work: Work) -> Pixels:
    """White lines on black; gradients above the high threshold begin one, those above the low one go on with it."""
    low, high = round(work.values.a), round(work.values.b)
    return on_grid(work.image, work.resolution, lambda pixels: np.asarray(cv2.Canny(pixels, low, high), np.uint8))


PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (
        PreprocessorEntry(
            name="canny",
            label="canny",
            types=("Canny",),
            first_in=("Canny",),
            resolution=RESOLUTION,
            threshold_a=Slider(label="Low Threshold", minimum=1, maximum=255, default=100),
            threshold_b=Slider(label="High Threshold", minimum=1, maximum=255, default=200),
        ),
        canny,
    ),
)
