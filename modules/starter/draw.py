"""Draws a scene: the place, the things and the style that holds both together."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .places import NEON, RGB, SKY, paint_place
from .scene import Scene, Thing
from .things import shape

CANVAS = 256
"""Pictures are drawn at this many pixels and reduced."""

PALETTE: dict[str, RGB] = {
    "red": (222, 34, 38), "orange": (255, 138, 16), "yellow": (255, 218, 36), "green": (32, 168, 60), "blue": (36, 84, 226),
    "purple": (138, 44, 190), "pink": (255, 132, 186), "brown": (128, 76, 36), "black": (36, 36, 42), "white": (248, 248, 248),
}  # fmt: skip
_FIXED: dict[str, RGB] = {
    "ink": (28, 26, 36), "paper": (250, 250, 250), "beak": (250, 170, 40), "wood": (134, 92, 56), "leaf": (70, 150, 70),
    "window": (186, 226, 246), "flame": (255, 176, 40), "blossom": (250, 130, 170),
}  # fmt: skip
_PAPER: RGB = (244, 240, 228)
_PARCHMENT: RGB = (238, 198, 132)
_BROWN_INK: RGB = (112, 70, 36)


def mix(a: RGB, b: RGB, amount: float) -> RGB:
    """`a` with `amount` (0 to 1) of `b`."""
    return (
        round(a[0] + (b[0] - a[0]) * amount),
        round(a[1] + (b[1] - a[1]) * amount),
        round(a[2] + (b[2] - a[2]) * amount),
    )


def tones(colour: str) -> dict[str, RGB]:
    """The colour of each tone of a thing of this colour."""
    main = PALETTE[colour]
    dark, light = mix(main, (0, 0, 0), 0.32), mix(main, (255, 255, 255), 0.42)
    if colour == "black":
        dark, light = (10, 10, 14), (92, 92, 104)
    if colour == "white":
        dark, light = (196, 202, 214), (255, 255, 255)
    return _FIXED | {"main": main, "dark": dark, "light": light}


def draw(scene: Scene, size: int = 128) -> Image.Image:
    """The picture of a scene, RGB, `size` pixels square."""
    image = _STYLES[scene.style](scene)
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BOX)


def backdrop(scene: Scene, tint: Callable[[RGB], RGB], outline: RGB | None) -> Image.Image:
    """The place alone, CANVAS pixels square."""
    top, bottom = (tint(c) for c in SKY[scene.place])
    ramp = np.linspace(0, 1, CANVAS)[:, None, None]
    rows = np.asarray(top) * (1 - ramp) + np.asarray(bottom) * ramp
    image = Image.fromarray(np.broadcast_to(rows, (CANVAS, CANVAS, 3)).astype(np.uint8))
    paint_place(ImageDraw.Draw(image), scene.place, scene.variant, tint, outline)
    return image


def stamp(image: Image.Image, thing: Thing, colour_of: dict[str, RGB], *edges: tuple[RGB, int]) -> None:
    """Draws a thing over edges, widest first: (colour, pixels of the canvas beyond the silhouette)."""
    pen = ImageDraw.Draw(image)
    scale = CANVAS / 128
    half, x0, y0 = thing.width / 2 * scale, thing.x * scale, thing.y * scale
    parts = [
        (k, [(x0 + x * half, y0 + y * half) for x, y in points], tone, width * half)
        for k, points, tone, width in shape(thing.kind)
    ]
    for edge, grow in edges:
        for part, points, _, width in parts:
            _primitive(pen, part, points, edge, width, grow)
    for part, points, tone, width in parts:
        _primitive(pen, part, points, colour_of[tone], width, 0)


def _primitive(
    pen: ImageDraw.ImageDraw, part: str, points: list[tuple[float, float]], colour: RGB, width: float, grow: int
) -> None:
    if part == "oval":
        (x0, y0), (x1, y1) = points
        pen.ellipse((x0 - grow, y0 - grow, x1 + grow, y1 + grow), fill=colour)
        return
    if part == "poly":
        pen.polygon(points, fill=colour)
        if not grow:
            return
        points, width = [*points, points[0]], 0.0
    thick = max(2, round(width + 2 * grow))
    pen.line(points, fill=colour, width=thick, joint="curve")
    if grow or width > 6:
        r = thick / 2 - 0.5
        for x, y in points:
            pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def draw_parchment(scene: Scene, size: int = 128) -> Image.Image:
    """The scene on tanned paper in brown ink: a style outside the starter's world, for networks to learn."""
    image = backdrop(scene, lambda c: mix(_PARCHMENT, c, 0.05), mix(_BROWN_INK, _PARCHMENT, 0.3))
    for thing in scene.things:
        stamp(image, thing, tones(thing.colour), (_BROWN_INK, 8))
    return image.resize((size, size), Image.Resampling.BOX)


def _flat(scene: Scene) -> Image.Image:
    image = backdrop(scene, lambda c: c, None)
    for thing in scene.things:
        stamp(image, thing, tones(thing.colour), ((255, 255, 255), 8), ((40, 36, 48), 4))
    return image


def _line(scene: Scene) -> Image.Image:
    image = backdrop(scene, lambda c: _PAPER, (128, 120, 116))
    for thing in scene.things:
        stamp(image, thing, tones(thing.colour), (_PAPER, 10), ((20, 20, 24), 6))
    return image


def _watercolour(scene: Scene) -> Image.Image:
    image = backdrop(scene, lambda c: mix(c, (255, 253, 246), 0.38), None).filter(ImageFilter.GaussianBlur(4))
    for thing in scene.things:
        soft = {tone: mix(c, (255, 250, 240), 0.1) for tone, c in tones(thing.colour).items()}
        edge = mix(soft["dark"], (90, 90, 110), 0.35)
        stamp(image, thing, soft, (mix(edge, (255, 255, 255), 0.75), 8), (edge, 3))
    image = image.filter(ImageFilter.GaussianBlur(1.6))
    pixels = np.asarray(image, dtype=np.float32)
    return Image.fromarray(np.clip(pixels + _blotches(), 0, 255).astype(np.uint8))


def _pixel(scene: Scene) -> Image.Image:
    image = (
        backdrop(scene, lambda c: c, None)
        .resize((CANVAS // 8, CANVAS // 8), Image.Resampling.NEAREST)
        .resize((CANVAS, CANVAS), Image.Resampling.NEAREST)
    )
    for thing in scene.things:
        stamp(image, thing, tones(thing.colour), ((255, 255, 255), 10), ((24, 22, 30), 6))
    small = image.resize((CANVAS // 8, CANVAS // 8), Image.Resampling.BOX)
    levels = (np.asarray(small).astype(np.int32) + 16) // 32 * 32
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).resize((CANVAS, CANVAS), Image.Resampling.NEAREST)


def _neon(scene: Scene) -> Image.Image:
    image = backdrop(scene, lambda c: mix(c, (10, 6, 24), 0.84), mix(NEON[scene.place], (10, 6, 24), 0.25))
    glow = Image.new("RGB", image.size)
    for thing in scene.things:
        stamp(
            glow,
            thing,
            {tone: _glow(thing.colour) for tone in (*_FIXED, "main", "dark", "light")},
            (_glow(thing.colour), 8),
        )
    pixels = np.asarray(image, dtype=np.float32) + 0.75 * np.asarray(
        glow.filter(ImageFilter.GaussianBlur(9)), dtype=np.float32
    )
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    for thing in scene.things:
        dimmed = {tone: mix(c, (6, 4, 16), 0.12) for tone, c in tones(thing.colour).items()}
        stamp(image, thing, dimmed, (mix(_glow(thing.colour), (255, 255, 255), 0.45), 6))
    return image


def _glow(colour: str) -> RGB:
    """The light of a neon thing; a black one shines pale grey, a brown one copper."""
    return {"black": (120, 124, 140), "brown": (196, 120, 60), "white": (255, 255, 255)}.get(
        colour, mix(PALETTE[colour], (255, 255, 255), 0.12)
    )


@lru_cache
def _blotches() -> np.ndarray:
    """Uneven paint: (256, 256, 1) float32 of about -16 to 16, always the same."""
    coarse = np.random.default_rng(3).normal(size=(8, 8)).astype(np.float32)
    return 9 * np.asarray(Image.fromarray(coarse).resize((CANVAS, CANVAS), Image.Resampling.BICUBIC))[:, :, None]


_STYLES = {"flat": _flat, "line": _line, "watercolour": _watercolour, "pixel": _pixel, "neon": _neon}
