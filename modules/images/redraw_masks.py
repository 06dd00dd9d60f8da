"""Masks (L) for a picture that is drawn on part by part: tiles, and what lies over the seams between them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageOps

Place = tuple[int, int]
"""Column and row of a tile."""

BICUBIC = Image.Resampling.BICUBIC


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A picture of that size in tiles of that size, from its upper left corner on; all in pixels."""

    size: tuple[int, int]
    tile: tuple[int, int]

    @property
    def columns(self) -> int:
        """How many there are side by side."""
        return math.ceil(self.size[0] / self.tile[0])

    @property
    def rows(self) -> int:
        """How many there are below each other."""
        return math.ceil(self.size[1] / self.tile[1])

    @property
    def places(self) -> list[Place]:
        """All tiles, row after row."""
        return [(x, y) for y in range(self.rows) for x in range(self.columns)]

    def mask(self, place: Place) -> Image.Image:
        """White over that tile, and a pixel more at the right and below."""
        width, height = self.tile
        left, top = place[0] * width, place[1] * height
        mask = self.black()
        ImageDraw.Draw(mask).rectangle((left, top, left + width, top + height), fill="white")
        return mask

    def black(self) -> Image.Image:
        """A mask over nothing."""
        return Image.new("L", self.size, "black")

    def laid(self, piece: Image.Image, left: int, top: int) -> Image.Image:
        """A piece (L) on a mask over nothing else."""
        mask = self.black()
        mask.paste(piece, (left, top))
        return mask


def chess(grid: Grid) -> list[Place]:
    """The tiles of one colour, then those of the other."""
    return sorted(grid.places, key=lambda place: (place[0] + place[1]) % 2)


def half_tiles(grid: Grid) -> Iterator[Image.Image]:
    """Tiles moved by half of one over the seams between rows, then those between columns; they fade away from the seam."""
    width, height = grid.tile
    rising = _mirrored((width, height))
    for x, y in grid.places:
        if y < grid.rows - 1:
            yield grid.laid(rising, x * width, y * height + height // 2)
    sideways = _mirrored((height, width)).transpose(Image.Transpose.ROTATE_90)
    for x, y in grid.places:
        if x < grid.columns - 1:
            yield grid.laid(sideways, x * width + width // 2, y * height)


def crossings(grid: Grid) -> Iterator[Image.Image]:
    """Round tiles over the corners where four meet."""
    width, height = grid.tile
    round_one = ImageOps.invert(Image.radial_gradient("L").resize(grid.tile, BICUBIC))
    for x, y in grid.places:
        if x < grid.columns - 1 and y < grid.rows - 1:
            yield grid.laid(round_one, x * width + width // 2, y * height + height // 2)


def bands(grid: Grid, width: int) -> Iterator[tuple[Image.Image, bool]]:
    """Bands of that width along the seams between columns, then those between rows; with each, whether it lies across."""
    band = _mirrored((256, 256))
    upright = band.transpose(Image.Transpose.ROTATE_90).resize((width, grid.size[1]), BICUBIC)
    for x in range(1, grid.columns):
        yield grid.laid(upright, x * grid.tile[0] - width // 2, 0), False
    lying = band.resize((grid.size[0], width), BICUBIC)
    for y in range(1, grid.rows):
        yield grid.laid(lying, 0, y * grid.tile[1] - width // 2), True


def _mirrored(size: tuple[int, int]) -> Image.Image:
    """From black at the upper edge to white in the middle, and back to black."""
    width, height = size
    half = Image.linear_gradient("L")
    piece = Image.new("L", size, "black")
    piece.paste(half.resize((width, height // 2), BICUBIC), (0, 0))
    piece.paste(half.transpose(Image.Transpose.ROTATE_180).resize((width, height // 2), BICUBIC), (0, height // 2))
    return piece
