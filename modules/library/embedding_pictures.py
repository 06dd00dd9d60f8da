"""Textual inversions that A1111 wrote into pictures: as JSON in the picture's text, or in the low bits of its pixels."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from modules.core.errors import ModelFileError

PICTURES = (".png", ".webp")
TENSOR = "TORCHTENSOR"
"""Under this name stand a tensor's numbers, in lists."""

_TEXT = "sd-ti-embedding"
_MAX_BYTES = 64 * 2**20
_MAX_PIXELS = 4 * 2**20


def read_hidden(path: Path) -> dict[str, Any] | None:
    """What is embedded in a picture; None in an ordinary one. Raises ModelFileError for what is damaged."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            if picture.size[0] * picture.size[1] > _MAX_PIXELS:
                return None
            text = getattr(picture, "text", {}).get(_TEXT) or picture.info.get(_TEXT)
            data = base64.b64decode(text) if isinstance(text, str) else _in_pixels(np.asarray(picture.convert("RGB")))
        found = None if data is None else json.loads(data)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise ModelFileError(f'"{path.name}" is no picture that can be read. Download it again.') from error
    except (ValueError, zlib.error, RecursionError) as error:
        raise ModelFileError(f'"{path.name}" holds a damaged textual inversion. Download it again.') from error
    return found if isinstance(found, dict) else None


def _in_pixels(pixels: np.ndarray) -> bytes | None:
    """The bytes in the low halves of the pixels (H, W, 3): two blocks, of the bytes' low and high halves, with black columns between."""
    bright = pixels > 0
    rows, columns = np.flatnonzero(bright.any(axis=(1, 2))), np.flatnonzero(bright.any(axis=(0, 2)))
    if not len(rows):
        return None
    low = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] & 15
    black = np.flatnonzero(low.sum(axis=(0, 2)) == 0)
    if len(black) < 2 or black[0] != low.shape[1] - 1 - black[-1] or not black[0]:
        return None
    first, second = _unmasked(low[:, : black[0]]), _unmasked(low[:, black[-1] + 1 :])
    data = ((second << 4) | first).astype(np.uint8).tobytes()
    try:
        reader = zlib.decompressobj()
        found = reader.decompress(data, _MAX_BYTES)
    except zlib.error:
        return None  # an ordinary picture with a black column
    if reader.unconsumed_tail:
        raise ValueError("it is too large")
    return found


def _unmasked(block: np.ndarray) -> np.ndarray:
    """Without the noise laid over it: the linear congruential generator of Numerical Recipes from 0, modulo 255."""
    noise = np.empty(block.size, np.uint8)
    state = 0
    for i in range(block.size):
        state = (1664525 * state + 1013904223) % 2**32
        noise[i] = state % 255 & 15
    return block ^ noise.reshape(block.shape)
