"""How bright a picture is, without its colours."""

import cv2
import numpy as np

from modules.control.preprocessors.pixels import Pixels, rgb, to_bytes
from modules.control.preprocessors.preprocessor import Look, Work
from modules.requests.preprocessors import PreprocessorEntry, Slider

GAMMA = Slider(label="Gamma Correction", minimum=0.1, maximum=2, default=1, step=0.001)


def _bright(values: np.ndarray, gamma: float) -> Pixels:
    return rgb(to_bytes((values.astype(np.float32) / 255) ** gamma * 255))


def luminance(work: Work) -> Pixels:
    """L of CIELAB. Red and blue change places first, as they do in the extension, whose models were trained so."""
    return _bright(cv2.cvtColor(rgb(work.image), cv2.COLOR_BGR2LAB)[:, :, 0], work.values.a)


def intensity(work: Work) -> Pixels:
    """V of HSV: the brightest channel."""
    return _bright(rgb(work.image).max(axis=2), work.values.a)


PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (
        PreprocessorEntry(
            name="recolor_luminance",
            label="recolor_luminance",
            types=("Recolor",),
            first_in=("Recolor",),
            threshold_a=GAMMA,
        ),
        luminance,
    ),
    (
        PreprocessorEntry(name="recolor_intensity", label="recolor_intensity", types=("Recolor",), threshold_a=GAMMA),
        intensity,
    ),
)
