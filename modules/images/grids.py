"""Many pictures in one: plain grids, and sheets with legends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from modules.core.errors import InputError, short

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
BUNDLED = ""
LEAST = 8
"""Pixels: smaller letters cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """Colours as #rrggbb, and the file of a font ("" is the bundled one)."""

    background: str = "#ffffff"
    active: str = "#000000"
    inactive: str = "#999999"
    font: str = BUNDLED

    @classmethod
    def of(cls, options: dict[str, Any]) -> "Look":
        """As the settings say."""
        return cls(
            background=options["grid_background_color"],
            active=options["grid_text_active_color"],
            inactive=options["grid_text_inactive_color"],
            font=options["font"],
        )


@dataclass(frozen=True, kw_only=True)
class Words:
    """A legend of one column or row; inactive ones are struck through."""

    text: str
    active: bool = True


@dataclass(frozen=True, kw_only=True)
class Legends:
    """The words above the columns and at the left of the rows, each any number of lines."""

    columns: Sequence[Sequence[Words]] = ()
    rows: Sequence[Sequence[Words]] = ()
    look: Look = field(default_factory=Look)


def columns_of(count: int, *, rows: int, batch_size: int, no_gaps: bool) -> int:
    """How many columns a plain grid has, by A1111's rule: `rows` below 0 is as square as can be, 0 the batch size."""
    if rows > 0:
        wanted = rows
    elif rows == 0:
        wanted = batch_size
    elif no_gaps:
        wanted = next(n for n in range(math.isqrt(count), 0, -1) if count % n == 0)
    else:
        wanted = round(math.sqrt(count))
    return math.ceil(count / min(wanted, count))


def make_grid(
    images: Sequence[Image.Image | None], columns: int, *, margin: int = 0, background: str = "#ffffff"
) -> Image.Image:
    """The pictures row after row, each in the middle of a cell as large as the largest; None leaves its cell empty."""
    width, height = cell_of(images)
    rows = math.ceil(len(images) / columns)
    sheet = Image.new(
        "RGB", (columns * width + (columns - 1) * margin, rows * height + (rows - 1) * margin), background
    )
    for i, image in enumerate(images):
        if image is not None:
            x, y = i % columns * (width + margin), i // columns * (height + margin)
            sheet.paste(image, (x + (width - image.width) // 2, y + (height - image.height) // 2))
    return sheet


def cell_of(images: Sequence[Image.Image | None]) -> tuple[int, int]:
    """Pixels across and down of the largest."""
    there = [image for image in images if image is not None]
    return max((i.width for i in there), default=1), max((i.height for i in there), default=1)


def make_sheet(images: Sequence[Image.Image | None], columns: int, legends: Legends, margin: int = 0) -> Image.Image:
    """A grid with legends around it; without words it is the grid alone."""
    grid = make_grid(images, columns, margin=margin, background=legends.look.background)
    width, height = cell_of(images)
    size = max((width + height) // 25, LEAST)
    across = width * 3 // 4 if any(words.text for row in legends.rows for words in row) else 0
    tops = [_Block(words, width, size, legends.look) for words in legends.columns]
    sides = [_Block(words, across, size, legends.look) for words in legends.rows]
    above = max((block.height for block in tops), default=0)
    above += size if above else 0
    if not across and not above:
        return grid
    sheet = Image.new("RGB", (grid.width + across, grid.height + above), legends.look.background)
    sheet.paste(grid, (across, above))
    pen = ImageDraw.Draw(sheet)
    for i, block in enumerate(tops):
        block.draw(pen, across + i * (width + margin) + width // 2, above // 2)
    for i, block in enumerate(sides):
        block.draw(pen, across // 2, above + i * (height + margin) + height // 2)
    return sheet


class _Block:
    """Some legends below each other, wrapped to a width; the letters shrink until every word fits."""

    def __init__(self, words: Sequence[Words], width: int, size: int, look: Look) -> None:
        self._look = look
        room = max(width - size // 2, 1)
        longest = [part for one in words for part in one.text.split()]
        self._font = font = open_font(look.font, size)
        while size > LEAST and any(font.getlength(part) > room for part in longest):
            size -= 1
            self._font = font = open_font(look.font, size)
        self._line = size + size // 3
        self._lines = [(line, one.active) for one in words for line in _wrapped(one.text, font, room)]
        self.height = self._line * len(self._lines)

    def draw(self, pen: ImageDraw.ImageDraw, x: int, y: int) -> None:
        """Draw them with their middle there."""
        top = y - self.height // 2
        for i, (line, active) in enumerate(self._lines):
            colour = self._look.active if active else self._look.inactive
            at = top + i * self._line + self._line // 2
            pen.text((x, at), line, fill=colour, font=self._font, anchor="mm")
            if not active and line:
                half = self._font.getlength(line) / 2
                pen.line((x - half, at, x + half, at), fill=colour, width=max(self._line // 12, 1))


def _wrapped(text: str, font: Font, room: int) -> list[str]:
    """The text in lines of at most `room` pixels; a word that is longer is cut."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if font.getlength(longer) <= room:
                line = longer
                continue
            if line:
                lines.append(line)
            while len(word) > 1 and font.getlength(word) > room:
                fits = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or font.getlength(word[:n]) <= room)
                lines.append(word[:fits])
                word = word[fits:]
            line = word
        lines.append(line)
    return [line for line in lines if line]


def open_font(file: str, size: int) -> Font:
    """The font of that file, or the one that Pillow brings; raises InputError for what is no font."""
    if not file:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(file, size)
    except (OSError, ValueError) as error:
        raise InputError(
            "font", f"font is {short(file)}: it must be the file of a TrueType or OpenType font, or empty."
        ) from error
