"""What detectors answer, and what is done with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Detection:
    """Something found: its box (left, top, right, bottom) in pixels, how sure, what it is, and its outline in white (mode L), the
    whole box if the detector tells no more."""

    box: Box
    score: float
    label: str
    mask: Image.Image

    @property
    def area(self) -> float:
        """Of the box, in pixels."""
        left, top, right, bottom = self.box
        return max(right - left, 0) * max(bottom - top, 0)


class Detector(Protocol):
    """A network that finds things."""

    def find(self, image: Image.Image, confidence: float, classes: Sequence[str] = ()) -> list[Detection]:
        """What is in an RGB picture with at least that confidence (0 to 1), surest first; of those classes alone, if any are given."""
        ...


def boxed(size: tuple[int, int], box: Box) -> Image.Image:
    """A mask (mode L) of a picture of that size that is white in the box."""
    mask = Image.new("L", size)
    left, top, right, bottom = (round(side) for side in box)
    if right > left and bottom > top:
        mask.paste(255, (left, top, right, bottom))
    return mask


def within(box: Box, size: tuple[int, int]) -> Box:
    """The part of the box that is in a picture of that size."""
    left, top, right, bottom = box
    width, height = size
    return min(max(left, 0), width), min(max(top, 0), height), min(max(right, 0), width), min(max(bottom, 0), height)


def best(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> list[int]:
    """Which of boxes (N, 4) stay, surest first, when each takes out those it shares more than `overlap` of its union with."""
    left = [int(i) for i in np.argsort(-scores, kind="stable")]
    areas = (boxes[:, 2] - boxes[:, 0]).clip(0) * (boxes[:, 3] - boxes[:, 1]).clip(0)
    kept = []
    while left:
        first, *rest = left
        kept.append(first)
        corner = np.maximum(boxes[first, :2], boxes[rest, :2]), np.minimum(boxes[first, 2:], boxes[rest, 2:])
        shared = (corner[1] - corner[0]).clip(0).prod(axis=1)
        union = areas[first] + areas[rest] - shared
        left = [i for i, part, whole in zip(rest, shared, union, strict=True) if part <= overlap * whole]
    return kept


class Letterbox:
    """A picture made to fit a network's input (height, width) with its shape kept, in the middle of grey or black, and the way back."""

    def __init__(self, image: Image.Image, height: int, width: int, fill: int = 0) -> None:
        self._scale = min(width / image.width, height / image.height)
        size = max(round(image.width * self._scale), 1), max(round(image.height * self._scale), 1)
        self._left, self._top = (width - size[0]) // 2, (height - size[1]) // 2
        self.size = image.size
        canvas = Image.new("RGB", (width, height), (fill,) * 3)
        canvas.paste(image.convert("RGB").resize(size, Image.Resampling.BILINEAR), (self._left, self._top))
        self.pixels = np.asarray(canvas, dtype=np.float32)
        """(height, width, 3), 0 to 255."""

    def back(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the input, x and y in its pixels, as pixels of the picture."""
        return (points - np.array([self._left, self._top])) / self._scale

    def mask_back(self, mask: np.ndarray) -> Image.Image:
        """A mask of the whole input, of any resolution, values 0 to 1, as a mask of the picture (mode L)."""
        height, width = self.pixels.shape[:2]
        found = Image.fromarray((mask * 255).clip(0, 255).astype(np.uint8))
        found = found.resize((width, height), Image.Resampling.BILINEAR)
        wide, tall = round(self.size[0] * self._scale), round(self.size[1] * self._scale)
        found = found.crop((self._left, self._top, self._left + max(wide, 1), self._top + max(tall, 1)))
        return found.resize(self.size, Image.Resampling.BILINEAR)
