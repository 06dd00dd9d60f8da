"""Control pictures brought to the size that is drawn, uint8 (H, W, 3 or 4). The fourth channel is a mask, 255 where the picture is to be filled.

Maps of lines and of labels must not be blurred: what a map is, its colours tell.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modules.requests.control import RESIZE_MODES

Pixels = NDArray[np.uint8]

JUST, CROP, FILL = RESIZE_MODES
LABELLED = 200
"""Maps of fewer colours are labels: their places are copied, not mixed."""

DARK, BRIGHT = 16, 240
"""A map of two colours, one below and one above, is black and white."""


def perfect_resolution(size: tuple[int, int], target: tuple[int, int], mode: str) -> int:
    """Pixels of the shorter side at which a preprocessor meets the target size (width, height) exactly, by the resize mode."""
    width, height = size
    scales = target[1] / height, target[0] / width
    return round((min(scales) if mode == FILL else max(scales)) * min(width, height))


def fitted(pixels: Pixels, width: int, height: int, mode: str) -> Pixels:
    """The map at that size: stretched, cut to its shape, or within it, the rest in the border's usual colour."""
    if mode == JUST:
        return resized(pixels, width, height)
    old_height, old_width = pixels.shape[:2]
    scales = height / old_height, width / old_width
    scale = min(scales) if mode == FILL else max(scales)
    inner = resized(pixels, max(round(old_width * scale), 1), max(round(old_height * scale), 1))
    new_height, new_width = inner.shape[:2]
    if mode == FILL:
        result = np.empty((height, width, pixels.shape[2]), np.uint8)
        result[:] = _border_colour(pixels)
        top, left = max((height - new_height) // 2, 0), max((width - new_width) // 2, 0)
        inner = inner[:height, :width]
        result[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
        return result
    top, left = max((new_height - height) // 2, 0), max((new_width - width) // 2, 0)
    cut = inner[top : top + height, left : left + width]
    return np.ascontiguousarray(cut) if cut.shape[:2] == (height, width) else resized(cut, width, height)


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """The map at that size, as what it is: lines stay lines, labels labels."""
    if pixels.shape[:2] == (height, width):
        return pixels
    picture, mask = pixels[:, :, :3], pixels[:, :, 3:]
    colours = np.unique(picture.reshape(-1, picture.shape[2]), axis=0)
    grows = width * height > pixels.shape[0] * pixels.shape[1]
    way = cv2.INTER_CUBIC if grows or width * height == pixels.shape[0] * pixels.shape[1] else cv2.INTER_AREA
    if 2 < len(colours) < LABELLED:
        way = cv2.INTER_NEAREST
    found = _scaled(picture, width, height, way)
    if len(colours) == 2 and colours.min() < DARK and colours.max() > BRIGHT:
        found = _black_and_white(found, thin=_is_thin(picture))
    if mask.size:
        grown = _scaled(mask, width, height, way)[:, :, None]
        found = np.concatenate([found, np.where(grown > 127, 255, 0).astype(np.uint8)], axis=2)
    return found


def as_hint(pixels: Pixels) -> Tensor:
    """(1, 3, H, W) in [0, 1]; where the mask is, -1, which is how inpainting networks were trained."""
    found = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    if found.shape[1] == 4:
        masked = (found[:, 3:] > 0.5).float()
        found = found[:, :3] * (1 - masked) - masked
    return found


def _border_colour(pixels: Pixels) -> Pixels:
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return np.median(rim, axis=0).astype(np.uint8)


def _scaled(pixels: Pixels, width: int, height: int, way: int) -> Pixels:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=way), np.uint8)


def _is_thin(picture: Pixels) -> bool:
    """Are most of its white places lines one pixel wide? Those are what an opening removes."""
    opened = cv2.morphologyEx(picture, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return int((opened < picture).sum()) * 2 > int((picture > 127).sum())


def _black_and_white(pixels: Pixels, *, thin: bool) -> Pixels:
    """Two colours again, by Otsu's threshold (1979); lines thinned to one pixel again."""
    grey = pixels.astype(np.float32).mean(axis=2).clip(0, 255).astype(np.uint8)
    _, found = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    found = np.asarray(found, np.uint8)
    if thin:
        found = _thinned(found)
    return np.repeat(found[:, :, None], 3, axis=2)


def _thinned(lines: Pixels) -> Pixels:
    """White lines one pixel wide (Zhang and Suen 1984)."""
    on = np.pad(lines > 127, 1)
    changed = True
    while changed:
        changed = False
        for first in (True, False):
            around = _neighbours(on)
            count = around.sum(axis=0)
            steps = (~around & np.roll(around, -1, axis=0)).sum(axis=0)
            p2, _, p4, _, p6, _, p8, _ = around
            ends = (~(p2 & p4 & p6) & ~(p4 & p6 & p8)) if first else (~(p2 & p4 & p8) & ~(p2 & p6 & p8))
            off = on[1:-1, 1:-1] & (count >= 2) & (count <= 6) & (steps == 1) & ends
            if off.any():
                on[1:-1, 1:-1] &= ~off
                changed = True
    return np.where(on[1:-1, 1:-1], 255, 0).astype(np.uint8)


def _neighbours(on: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(8, H, W): the places around each, from the one above on clockwise."""
    around = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
    height, width = on.shape
    return np.stack([on[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx] for dy, dx in around])
