"""Control pictures of the starter world: Canny edges, and scribbles as a hand would draw them."""

import random

import cv2
import numpy as np
from PIL import Image

from .draw import CANVAS, stamp, tones
from .scene import Scene

LOW, HIGH = 100, 200
"""Canny's thresholds, the preprocessor's own defaults."""


def canny(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (H, W) uint8 of 0 and 255."""
    return cv2.Canny(pixels, LOW, HIGH)


def scribble(scene: Scene, rng: random.Random, size: int = 128) -> np.ndarray:
    """The things alone, in white lines of an unsteady hand on black: (size, size) uint8 of 0 and 255."""
    page = Image.new("RGB", (CANVAS, CANVAS), (255, 255, 255))
    for thing in scene.things:
        stamp(page, thing, tones("blue"))
    lines = cv2.dilate(cv2.Canny(np.asarray(page), LOW, HIGH), np.ones((rng.choice((2, 3, 4)),) * 2, np.uint8))
    lines = cv2.remap(lines, *_unsteady(rng, CANVAS), cv2.INTER_LINEAR)
    small = cv2.resize(lines, (size, size), interpolation=cv2.INTER_AREA)
    return ((small > 60) * 255).astype(np.uint8)


def _unsteady(rng: random.Random, side: int, far: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of a bent picture comes from: the columns and the rows, (side, side) float32."""
    lots = np.random.default_rng(rng.getrandbits(32)).normal(size=(2, 12, 12)).astype(np.float32)
    bent = [cv2.resize(one, (side, side), interpolation=cv2.INTER_CUBIC) * far for one in lots]
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    return columns + bent[0], rows + bent[1]


def agreement(wanted: np.ndarray, seen: np.ndarray, far: int = 2) -> float:
    """Intersection over union of two maps of edges (H, W), an edge counting as met where the other has one within `far` pixels."""
    near_wanted, near_seen = _near(wanted, far), _near(seen, far)
    met = ((wanted > 0) & near_seen).sum() / 2 + ((seen > 0) & near_wanted).sum() / 2
    missed = ((wanted > 0) & ~near_seen).sum() + ((seen > 0) & ~near_wanted).sum()
    return float(met / max(met + missed, 1))


def overlap(wanted: np.ndarray, seen: np.ndarray, far: int = 2) -> float:
    """Intersection over union of all that lies within `far` pixels of the edges of the one and of the other (as arXiv:2103.16562 has it)."""
    one, other = _near(wanted, far), _near(seen, far)
    return float((one & other).sum() / max((one | other).sum(), 1))


def _near(edges: np.ndarray, far: int) -> np.ndarray:
    side = np.arange(-far, far + 1)
    disc = (side[:, None] ** 2 + side[None, :] ** 2 <= far**2).astype(np.uint8)
    return cv2.dilate(edges, disc) > 0
