"""Cutting pictures for training sets, as A1111's postprocessing does: split, around what matters, to sides that suit; and flips."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from modules.requests.extras import AutosizedCrop, FocalCrop

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

Point = tuple[float, float]
GRID = 64
CELLS = 12
"""The map of what matters has so many cells along the longer side."""

_FLIPS = {
    "Horizontal": Image.Transpose.FLIP_LEFT_RIGHT,
    "Vertical": Image.Transpose.FLIP_TOP_BOTTOM,
    "Both": Image.Transpose.ROTATE_180,
}


def flipped(image: Image.Image, how: str) -> Image.Image:
    """The picture flipped Horizontal, Vertical or Both."""
    return image.transpose(_FLIPS[how])


def split(
    image: Image.Image, width: int, height: int, *, threshold: float, overlap_ratio: float
) -> list[Image.Image] | None:
    """Parts of exactly that size along the picture's longer side, which overlap at least by that part of them.

    None unless the one's proportions are below `threshold` of the other's: such pictures are not oversized.
    """
    ratio = (image.height * width) / (image.width * height)
    upright = ratio > 1
    if ratio == 1 or (1 / ratio if upright else ratio) > threshold:
        return None
    if upright:
        image = image.resize((width, max(round(image.height * width / image.width), height)), Image.Resampling.LANCZOS)
        length, part = image.height, height
    else:
        image = image.resize((max(round(image.width * height / image.height), width), height), Image.Resampling.LANCZOS)
        length, part = image.width, width
    count = max(math.ceil((length - part * overlap_ratio) / (part * (1 - overlap_ratio))), 1)
    starts = [int((length - part) / max(count - 1, 1) * i) for i in range(count)]
    boxes = [(0, at, width, at + height) if upright else (at, 0, at + width, height) for at in starts]
    return [image.crop(box) for box in boxes]


def autosized(image: Image.Image, wish: AutosizedCrop) -> Image.Image | None:
    """The middle of the picture in the sides that suit best; None if none is near enough to its proportions."""
    found = []
    for width in range(-(-wish.mindim // GRID) * GRID, wish.maxdim + 1, GRID):
        for height in range(-(-wish.mindim // GRID) * GRID, wish.maxdim + 1, GRID):
            ratio = width / height / (image.width / image.height)
            error = 1 - min(ratio, 1 / ratio)
            if wish.minarea <= width * height <= wish.maxarea and error <= wish.threshold:
                found.append((width * height, error, width, height))
    if not found:
        return None
    by_area = wish.objective == "Maximize area"
    best = max(found, key=lambda one: (one[0], -one[1]) if by_area else (-one[1], one[0]))
    return ImageOps.fit(image, best[2:], Image.Resampling.LANCZOS)


def focal(
    image: Image.Image, width: int, height: int, wish: FocalCrop, faces: Sequence[Box]
) -> tuple[Image.Image, Image.Image]:
    """The picture cut to that size around what matters in it, and the uncut one with that drawn into it.

    Faces matter by their sizes, then places with much in them (entropy) and edges; each kind by its weight.
    """
    scale = max(width / image.width, height / image.height)
    sides = max(round(image.width * scale), width), max(round(image.height * scale), height)
    points = [(centre, weight) for centre, weight in _points(image, wish, faces) if weight > 0]
    total = sum(weight for _, weight in points) or 1.0
    middle = (image.width / 2, image.height / 2)
    focus = tuple(sum(c[axis] * w for c, w in points) / total if points else middle[axis] for axis in (0, 1))
    left = min(max(round(focus[0] * scale - width / 2), 0), sides[0] - width)
    top = min(max(round(focus[1] * scale - height / 2), 0), sides[1] - height)
    large = image.convert("RGB").resize(sides, Image.Resampling.LANCZOS)
    box = (left, top, left + width, top + height)
    return large.crop(box), _drawn(large, box, [(x * scale, y * scale) for (x, y), _ in points])


def _points(image: Image.Image, wish: FocalCrop, faces: Sequence[Box]) -> list[tuple[Point, float]]:
    """Where what matters of each kind has its centre, and how much it weighs."""
    found = []
    if faces:
        sizes = [(right - left) * (bottom - top) for left, top, right, bottom in faces]
        x = sum((f[0] + f[2]) / 2 * size for f, size in zip(faces, sizes, strict=True)) / sum(sizes)
        y = sum((f[1] + f[3]) / 2 * size for f, size in zip(faces, sizes, strict=True)) / sum(sizes)
        found.append(((x, y), wish.face_weight))
    small = image.convert("L")
    small.thumbnail((CELLS * 16, CELLS * 16), Image.Resampling.BOX)
    grey = np.asarray(small, dtype=np.float32)
    factors = image.width / small.width, image.height / small.height
    for amounts, weight in ((_entropies(grey), wish.entropy_weight), (_edges(grey), wish.edges_weight)):
        if centre := _centre(amounts):
            found.append(((centre[0] * factors[0], centre[1] * factors[1]), weight))
    return found


def _entropies(grey: np.ndarray) -> np.ndarray:
    """How much is in each place, (h, w): the entropy of the cell around it above that of the emptiest cell."""
    amounts = np.zeros_like(grey)
    for top in range(0, grey.shape[0], 16):
        for left in range(0, grey.shape[1], 16):
            cell = grey[top : top + 16, left : left + 16]
            shares = np.histogram(cell, bins=32, range=(0, 256))[0] / cell.size
            shares = shares[shares > 0]
            amounts[top : top + 16, left : left + 16] = -(shares * np.log2(shares)).sum()
    return (amounts - amounts.min()) ** 2


def _edges(grey: np.ndarray) -> np.ndarray:
    """How steep each place is, squared, (h, w)."""
    if min(grey.shape) < 2:
        return np.zeros_like(grey)
    down, across = np.gradient(grey)
    return down**2 + across**2


def _centre(amounts: np.ndarray) -> Point | None:
    """The centre of gravity as (x, y) in pixels; None of nothing."""
    total = float(amounts.sum())
    if total <= 0:
        return None
    rows, columns = np.arange(amounts.shape[0]) + 0.5, np.arange(amounts.shape[1]) + 0.5
    return float((amounts.sum(0) * columns).sum() / total), float((amounts.sum(1) * rows).sum() / total)


def _drawn(image: Image.Image, box: tuple[int, int, int, int], points: Sequence[Point]) -> Image.Image:
    """A copy with the crop framed and the points marked."""
    copy = image.copy()
    pen, thick = ImageDraw.Draw(copy), max(min(image.size) // 128, 1)
    pen.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=(0, 255, 0), width=thick)
    for x, y in points:
        r = 4 * thick
        pen.ellipse((x - r, y - r, x + r, y + r), outline=(255, 0, 0), width=thick)
    return copy
