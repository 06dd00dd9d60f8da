"""The picture's colours at other places, along a smooth random flow."""

import zlib

import cv2
import numpy as np

from modules.control.preprocessors.pixels import Pixels, at_resolution
from modules.control.preprocessors.preprocessor import Look, Work
from modules.requests.preprocessors import PreprocessorEntry

GRAIN = 256
"""How far apart the random values are between which the flow is drawn, in pixels."""

SIDE = 512
"""The resolution, whatever is asked for."""


def shuffled(work: Work) -> Pixels:
    """Content shuffle (arXiv:2302.05543). The flow comes from the picture's own bytes: the same picture is shuffled the same way."""
    pixels = at_resolution(work.image, SIDE)
    height, width = pixels.shape[:2]
    random = np.random.default_rng(zlib.crc32(pixels.tobytes()))
    x = _smooth(random, height, width) * (width - 1)
    y = _smooth(random, height, width) * (height - 1)
    return np.asarray(cv2.remap(pixels, x, y, cv2.INTER_LINEAR), np.uint8)


def _smooth(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A random field (H, W), float32, 0 to 1."""
    coarse = random.uniform(size=(height // GRAIN + 2, width // GRAIN + 2)).astype(np.float32)
    wide = cv2.resize(coarse, (width + 2 * GRAIN, height + 2 * GRAIN), interpolation=cv2.INTER_CUBIC)
    field = wide[GRAIN : GRAIN + height, GRAIN : GRAIN + width]
    field = field - field.min()
    return np.ascontiguousarray(field / max(float(field.max()), 1e-6))


PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (PreprocessorEntry(name="shuffle", label="shuffle", types=("Shuffle",), first_in=("Shuffle",)), shuffled),
)
