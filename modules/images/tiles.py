"""Pictures cut into overlapping tiles of one size and put together again, as A1111's scripts do it."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from modules.images.masks import Box


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Where tiles lie on a picture, all in pixels: left edges of the columns, upper edges of the rows."""

    size: tuple[int, int]
    tile: tuple[int, int]
    overlap: int
    columns: tuple[int, ...]
    rows: tuple[int, ...]

    @property
    def boxes(self) -> list[Box]:
        """The tiles, row after row."""
        width, height = self.tile
        return [(x, y, x + width, y + height) for y in self.rows for x in self.columns]

    def joined(self, tiles: list[Image.Image]) -> Image.Image:
        """The tiles as one picture (RGB): each goes over into its left neighbour, and each row into the one above, along `overlap`."""
        whole = Image.new("RGB", self.size)
        across = _ramp(self.overlap, self.tile[1]).transpose(Image.Transpose.TRANSPOSE)
        down = _ramp(self.overlap, self.size[0])
        for i, y in enumerate(self.rows):
            row = Image.new("RGB", (self.size[0], self.tile[1]))
            for j, x in enumerate(self.columns):
                _laid(row, tiles[i * len(self.columns) + j], (x, 0), across if x else None)
            _laid(whole, row, (0, y), down if y else None)
        return whole


def tiling(size: tuple[int, int], tile: tuple[int, int], overlap: int) -> Tiling:
    """As few tiles as overlap by that much, spread evenly; a tile is no larger than the picture, and larger than `overlap`."""
    columns, rows = (_places(side, part, overlap) for side, part in zip(size, tile, strict=True))
    return Tiling(size=size, tile=tile, overlap=overlap, columns=columns, rows=rows)


def _places(side: int, tile: int, overlap: int) -> tuple[int, ...]:
    count = max(math.ceil((side - overlap) / (tile - overlap)), 1)
    step = (side - tile) / max(count - 1, 1)
    return tuple(min(int(i * step), side - tile) for i in range(count))


def _ramp(overlap: int, width: int) -> Image.Image:
    """A mask (L) of that width that rises from 0 over `overlap` rows."""
    rising = (np.arange(overlap, dtype=np.float32) * 255 / max(overlap, 1)).astype(np.uint8)
    return Image.fromarray(np.repeat(rising[:, None], width, axis=1), "L")


def _laid(under: Image.Image, over: Image.Image, at: tuple[int, int], ramp: Image.Image | None) -> None:
    """Lay a picture there, its first rows or columns under the ramp."""
    if ramp is None:
        under.paste(over, at)
        return
    x, y = at
    width, height = (ramp.width, over.height) if x else (over.width, ramp.height)
    soft = over.crop((0, 0, width, height))
    if soft.width and soft.height:
        under.paste(soft, at, ramp)
    if x:
        under.paste(over.crop((width, 0, *over.size)), (x + width, y))
    else:
        under.paste(over.crop((0, height, *over.size)), (x, y + height))
