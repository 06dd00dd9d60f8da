"""Poses in OpenPose's JSON drawn as OpenPose draws them: 18 points of a body, 21 of each hand, 70 of a face."""

import colorsys
import io
import math
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from modules.core.errors import InputError, short

MAX_SIDE = 4096
MAX_PEOPLE = 100
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10)),
    *((1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
"""Pairs of points of a body that are joined."""

FINGERS = tuple((0 if i % 4 == 1 else i - 1, i) for i in range(1, 21))
WIDTH, DOT = 4, 4
"""Of limbs and points, half of it in pixels."""

Point = tuple[float, float]


def draw_poses(pose: dict[str, Any], field: str) -> bytes:
    """A PNG of all people of one canvas; raises InputError naming what is wrong."""
    width, height = (_side(pose.get(name), f"{field}.{name}") for name in ("canvas_width", "canvas_height"))
    people = pose.get("people")
    if not isinstance(people, list) or len(people) > MAX_PEOPLE or not all(isinstance(one, dict) for one in people):
        raise InputError(f"{field}.people", f"{field}.people must be a list of at most {MAX_PEOPLE} people.")
    image = Image.new("RGB", (width, height))
    for number, person in enumerate(people):
        where = f"{field}.people.{number}"

        def points(part: str, person: dict[str, Any] = person, where: str = where) -> list[Point | None]:
            return _points(person.get(part), f"{where}.{part}", (width, height))

        _draw_body(image, points("pose_keypoints_2d"))
        for hand in ("hand_left_keypoints_2d", "hand_right_keypoints_2d"):
            _draw_hand(image, points(hand))
        for point in points("face_keypoints_2d"):
            _dot(ImageDraw.Draw(image), point, (255, 255, 255), 3)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _side(value: Any, field: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_SIDE:
        raise InputError(field, f"{field} is {short(value)}: it must be a whole number from 1 to {MAX_SIDE}.")
    return value


def _points(values: Any, field: str, size: tuple[int, int]) -> list[Point | None]:
    """x, y and how sure, three numbers a point; None where one is not seen. Numbers within 1 are parts of the canvas."""
    if values is None:
        return []
    if not isinstance(values, list) or len(values) > 1000 or not all(isinstance(one, int | float) for one in values):
        raise InputError(field, f"{field} must be a list of numbers, three a point.")
    part = all(abs(one) <= 1 for one in values)
    scale = size if part else (1, 1)
    found: list[Point | None] = []
    for x, y, sure in zip(values[::3], values[1::3], values[2::3], strict=False):
        found.append((x * scale[0], y * scale[1]) if sure > 0 and math.isfinite(x + y) else None)
    return found


def _draw_body(image: Image.Image, points: Sequence[Point | None]) -> None:
    """Limbs at six tenths of their colours' brightness, then points."""
    draw = ImageDraw.Draw(image)
    for number, (a, b) in enumerate(LIMBS):
        ends = [points[i] if i < len(points) else None for i in (a, b)]
        if ends[0] and ends[1]:
            _limb(draw, ends[0], ends[1], tuple(int(one * 0.6) for one in _hue(number, 18)))
    for number, point in enumerate(points[:18]):
        _dot(draw, point, _hue(number, 18), DOT)


def _draw_hand(image: Image.Image, points: Sequence[Point | None]) -> None:
    draw = ImageDraw.Draw(image)
    for number, (a, b) in enumerate(FINGERS):
        ends = [points[i] if i < len(points) else None for i in (a, b)]
        if ends[0] and ends[1]:
            draw.line([ends[0], ends[1]], fill=_hue(number, len(FINGERS)), width=2)
    for point in points:
        _dot(draw, point, (0, 0, 255), DOT)


def _limb(draw: ImageDraw.ImageDraw, a: Point, b: Point, colour: tuple[int, ...]) -> None:
    """An ellipse from end to end."""
    length, angle = math.dist(a, b), math.atan2(b[1] - a[1], b[0] - a[0])
    middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
    outline = []
    for step in range(36):
        along, across = math.cos(step * math.pi / 18) * length / 2, math.sin(step * math.pi / 18) * WIDTH
        outline.append(
            (
                middle[0] + along * math.cos(angle) - across * math.sin(angle),
                middle[1] + along * math.sin(angle) + across * math.cos(angle),
            )
        )
    draw.polygon(outline, fill=colour)


def _dot(draw: ImageDraw.ImageDraw, point: Point | None, colour: tuple[int, ...], radius: int) -> None:
    if point:
        x, y = point
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)


def _hue(number: int, count: int) -> tuple[int, ...]:
    return tuple(round(255 * one) for one in colorsys.hsv_to_rgb(number / count, 1, 1))
