"""The backgrounds of the starter world, drawn on a 256-pixel canvas in four variants each."""

import math
from collections.abc import Callable
from functools import partial

from PIL import ImageDraw

RGB = tuple[int, int, int]
Canvas = ImageDraw.ImageDraw

SKY: dict[str, tuple[RGB, RGB]] = {
    "beach": ((112, 190, 232), (214, 238, 246)),
    "forest": ((150, 196, 160), (206, 226, 190)),
    "desert": ((246, 196, 128), (252, 232, 190)),
    "snow": ((136, 168, 208), (214, 228, 242)),
    "city": ((188, 172, 206), (244, 214, 204)),
    "meadow": ((130, 200, 240), (222, 242, 250)),
    "underwater": ((70, 176, 200), (18, 84, 140)),
    "night": ((18, 18, 56), (58, 44, 104)),
}
"""Colours of the sky at the top and at the bottom."""


def paint_place(draw: Canvas, place: str, variant: int, tint: Callable[[RGB], RGB], outline: RGB | None) -> None:
    """The ground and what stands on it, over a sky already there; `tint` maps every colour to the style's."""
    area = partial(_area, draw, tint, outline)
    disc = partial(_disc, draw, tint, outline)
    _PAINTERS[place](area, disc, 16 * (variant % 2), variant // 2)


def _area(
    draw: Canvas, tint: Callable[[RGB], RGB], outline: RGB | None, colour: RGB, *points: tuple[float, float]
) -> None:
    draw.polygon(points, fill=tint(colour))
    if outline:
        draw.line((*points, points[0]), fill=outline, width=4, joint="curve")


def _disc(
    draw: Canvas, tint: Callable[[RGB], RGB], outline: RGB | None, colour: RGB, x: float, y: float, rx: float, ry: float
) -> None:
    draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=tint(colour), outline=outline, width=4 if outline else 0)


def _ground(area, colour: RGB, y: float, waves: float = 0, phase: float = 0) -> None:
    top = [(x, y + waves * math.sin(x / 40 + phase)) for x in range(-8, 265, 8)]
    area(colour, *top, (264, 264), (-8, 264))


def _beach(area, disc, shift, other):
    disc((255, 226, 110), 48 if other else 208, 44, 22, 22)
    area((36, 128, 190), (-4, 112), (260, 112), (260, 264), (-4, 264))
    for x, y in ((28 + shift, 128), (100 - shift, 142), (168 + shift, 126), (226 - shift, 144)):
        area(
            (206, 232, 246),
            (x - 18, y + 3),
            (x - 9, y - 4),
            (x, y + 3),
            (x + 9, y - 4),
            (x + 18, y + 3),
            (x + 9, y + 2),
            (x - 9, y + 2),
        )
    _ground(area, (246, 246, 240), 160 + shift, 6, other * 3)
    _ground(area, (240, 216, 156), 170 + shift, 6, other * 3)


def _forest(area, disc, shift, other):
    _ground(area, (96, 128, 72), 184)
    for x in (20 + shift, 92 - shift, 164 + shift, 236 - shift):
        area((104, 82, 60), (x - 7, 120), (x + 7, 120), (x + 7, 206), (x - 7, 206))
        for top in (16, 62):
            area((60, 108, 76) if other else (78, 122, 70), (x, top), (x + 42, top + 84), (x - 42, top + 84))


def _desert(area, disc, shift, other):
    disc((255, 244, 190), 200 if other else 56, 48, 26, 26)
    for x, top in ((60 + shift, 84), (170 - shift, 104)) if other else ((84 - shift, 108), (206 + shift, 80)):
        area((206, 120, 72), (x - 26, top), (x + 26, top), (x + 40, 190), (x - 40, 190))
        area((182, 96, 60), (x - 31, top + 22), (x + 31, top + 22), (x + 33, top + 32), (x - 33, top + 32))
    _ground(area, (238, 190, 118), 176 + shift, 14, other * 3)


def _snow(area, disc, shift, other):
    for x, top, half in ((64 + shift, 48, 92), (190 - shift, 24 + 24 * other, 104)):
        area((112, 126, 154), (x, top), (x + half, 190), (x - half, 190))
        area(
            (240, 246, 252),
            (x, top),
            (x + half * 0.36, top + (190 - top) * 0.36),
            (x, top + 36),
            (x - half * 0.36, top + (190 - top) * 0.36),
        )
    _ground(area, (232, 240, 248), 172, 8, other * 3)


def _city(area, disc, shift, other):
    heights = (84, 44, 112, 60, 96, 36) if other else (60, 104, 32, 92, 52, 108)
    for i, top in enumerate(heights):
        x = 44 * i - 8 + shift // 2
        area((112, 112, 140) if i % 2 else (136, 130, 158), (x, top), (x + 40, top), (x + 40, 200), (x, 200))
        for wx in (x + 8, x + 24):
            for wy in range(top + 12, 180, 28):
                area((250, 232, 160), (wx, wy), (wx + 8, wy), (wx + 8, wy + 12), (wx, wy + 12))
    area((92, 92, 104), (-4, 200), (260, 200), (260, 264), (-4, 264))
    for x in range(12, 256, 64):
        area((226, 226, 214), (x, 226), (x + 32, 226), (x + 32, 232), (x, 232))


def _meadow(area, disc, shift, other):
    for x, y in ((52 + shift, 40), (190 - shift, 60)) if other else ((90 + shift, 56), (214 - shift, 32)):
        for dx, r in ((-20, 13), (0, 20), (22, 14)):
            disc((252, 252, 252), x + dx, y, r * 1.2, r)
    _ground(area, (142, 198, 104), 150, 12, other * 3)
    _ground(area, (112, 180, 84), 186, 8, 2 + other * 3)
    for i in range(9):
        x, y = 30 * i + shift / 2, 238 - 26 * (i % 2)
        area((70, 140, 60), (x - 9, y), (x - 6, y - 18), (x, y - 4), (x + 6, y - 18), (x + 9, y))
    for i in range(8):
        disc(
            ((250, 240, 120), (250, 250, 250), (246, 170, 200))[i % 3],
            14 + 32 * i + shift / 2,
            206 + 28 * (i % 2),
            5,
            5,
        )


def _underwater(area, disc, shift, other):
    _ground(area, (206, 190, 140), 216, 6, other * 3)
    for x in (24 + shift, 120 - shift, 222):
        weed = [(x + 9 * math.sin(y / 12), y) for y in range(240, 110, -8)]
        area((40, 142, 110), *((px - 6, py) for px, py in weed), *((px + 6, py) for px, py in reversed(weed)))
    for x, y, r in ((66, 40, 9), (80 + shift, 76, 6), (190, 30 + shift, 8), (176, 70, 12), (236, 110, 7)):
        disc((150, 220, 236), x, y + 16 * other, r, r)


def _night(area, disc, shift, other):
    for i in range(22):
        x, y = (i * 61 + 40 * other) % 256, (i * i * 23 + shift) % 190
        disc((250, 246, 210), x, y, 2 + i % 3, 2 + i % 3)
    disc((226, 196, 140) if other else (190, 150, 220), 210 if other else 44, 44, 20, 20)
    _ground(area, (34, 30, 66), 216, 10, other * 3)


NEON: dict[str, RGB] = {
    "beach": (40, 180, 220), "forest": (30, 170, 90), "desert": (230, 120, 40), "snow": (150, 180, 240), "city": (220, 50, 160),
    "meadow": (140, 190, 40), "underwater": (20, 140, 170), "night": (120, 90, 220),
}  # fmt: skip
"""The colour of each place's lines in the neon style."""

_PAINTERS = {
    "beach": _beach, "forest": _forest, "desert": _desert, "snow": _snow, "city": _city, "meadow": _meadow, "underwater": _underwater, "night": _night,
}  # fmt: skip
