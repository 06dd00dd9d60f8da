"""The shapes of things: primitives in a box from -1 to 1, y downward, each with a tone of the thing's colour."""

import math
from functools import lru_cache

Point = tuple[float, float]
Primitive = tuple[str, tuple[Point, ...], str, float]
"""("poly" | "oval" | "line", points, tone, width): an oval's points are two corners; tones: main dark light ink paper."""


def poly(tone: str, *points: Point) -> Primitive:
    return ("poly", points, tone, 0.0)


def oval(tone: str, x: float, y: float, rx: float, ry: float) -> Primitive:
    return ("oval", ((x - rx, y - ry), (x + rx, y + ry)), tone, 0.0)


def box(tone: str, x0: float, y0: float, x1: float, y1: float) -> Primitive:
    return ("poly", ((x0, y0), (x1, y0), (x1, y1), (x0, y1)), tone, 0.0)


def line(tone: str, width: float, *points: Point) -> Primitive:
    return ("line", points, tone, width)


def curve(fx, fy, n: int = 40) -> tuple[Point, ...]:
    """Points of a closed curve, its parameter from 0 to 2 pi."""
    return tuple((fx(2 * math.pi * i / n), fy(2 * math.pi * i / n)) for i in range(n))


def mirrored(*right: Primitive) -> tuple[Primitive, ...]:
    """The primitives and their mirror images."""
    return right + tuple((part, _flip(part, points), tone, width) for part, points, tone, width in right)


def _flip(part: str, points: tuple[Point, ...]) -> tuple[Point, ...]:
    if part == "oval":
        (x0, y0), (x1, y1) = points
        return ((-x1, y0), (-x0, y1))
    return tuple((-x, y) for x, y in points)


def _cat():
    return (
        line("main", 0.26, (0.5, 0.8), (0.85, 0.7), (0.85, 0.3)), oval("main", 0, 0.5, 0.6, 0.48),
        *mirrored(poly("main", (0.12, -0.55), (0.62, -1), (0.66, -0.3))), *mirrored(poly("dark", (0.32, -0.6), (0.54, -0.8), (0.56, -0.45))),
        oval("main", 0, -0.25, 0.68, 0.52), oval("light", 0, 0.55, 0.3, 0.34), *mirrored(oval("paper", 0.28, -0.32, 0.17, 0.17)),
        *mirrored(oval("ink", 0.27, -0.31, 0.09, 0.13)), oval("ink", 0, -0.06, 0.09, 0.06),
    )  # fmt: skip


def _rabbit():
    return (
        *mirrored(oval("main", 0.3, -0.62, 0.19, 0.4)), *mirrored(oval("light", 0.3, -0.62, 0.09, 0.28)), oval("main", 0, 0.58, 0.55, 0.42),
        oval("paper", 0.55, 0.75, 0.18, 0.18), oval("main", 0, 0.0, 0.5, 0.42), oval("light", 0, 0.62, 0.28, 0.28),
        *mirrored(oval("ink", 0.2, -0.08, 0.09, 0.12)), oval("dark", 0, 0.13, 0.1, 0.07),
    )  # fmt: skip


def _fish():
    return (
        poly("dark", (0.35, 0), (1, -0.55), (0.85, 0), (1, 0.55)), poly("dark", (-0.3, -0.4), (0.1, -0.85), (0.35, -0.3)),
        oval("main", -0.2, 0, 0.78, 0.52), poly("light", (0.05, 0.05), (0.4, 0.3), (0.05, 0.35)), line("dark", 0.08, (-0.4, -0.42), (-0.3, 0), (-0.4, 0.42)),
        oval("paper", -0.62, -0.12, 0.16, 0.16), oval("ink", -0.64, -0.12, 0.09, 0.09),
    )  # fmt: skip


def _bird():
    return (
        poly("dark", (0.3, 0.1), (1, -0.35), (0.9, 0.25)), line("ink", 0.1, (-0.1, 0.5), (-0.1, 0.95)), line("ink", 0.1, (0.2, 0.5), (0.2, 0.95)),
        oval("main", 0.1, 0.15, 0.6, 0.45), oval("main", -0.45, -0.4, 0.38, 0.36), poly("beak", (-0.75, -0.5), (-1, -0.32), (-0.75, -0.2)),
        poly("dark", (-0.15, 0.0), (0.65, -0.15), (0.3, 0.4)), oval("ink", -0.52, -0.46, 0.08, 0.09),
    )  # fmt: skip


def _turtle():
    return (
        *mirrored(oval("light", 0.5, 0.62, 0.2, 0.28)), oval("light", -0.78, 0.12, 0.22, 0.22), poly("light", (0.7, 0.45), (1, 0.6), (0.7, 0.65)),
        poly("main", *((0.85 * math.cos(a), 0.5 - 1.1 * math.sin(a)) for a in (math.pi * i / 20 for i in range(21)))),
        line("dark", 0.1, (-0.85, 0.45), (0.85, 0.45)), line("dark", 0.1, (-0.35, -0.4), (-0.2, 0.4)), line("dark", 0.1, (0.35, -0.4), (0.2, 0.4)),
        oval("ink", -0.85, 0.08, 0.06, 0.07),
    )  # fmt: skip


def _butterfly():
    return (
        *mirrored(oval("main", 0.52, -0.38, 0.46, 0.5)), *mirrored(oval("dark", 0.42, 0.48, 0.36, 0.4)), *mirrored(oval("light", 0.56, -0.4, 0.2, 0.24)),
        *mirrored(oval("light", 0.42, 0.48, 0.14, 0.16)), *mirrored(line("ink", 0.07, (0, -0.5), (0.25, -0.95))), oval("ink", 0, 0.05, 0.12, 0.62),
    )  # fmt: skip


def _snail():
    return (
        poly("light", (-0.95, 0.2), (-0.6, 0.1), (-0.5, 0.55), (1, 0.85), (-0.8, 0.85)), line("light", 0.1, (-0.85, 0.2), (-0.95, -0.35)),
        line("light", 0.1, (-0.65, 0.2), (-0.55, -0.35)), oval("ink", -0.95, -0.35, 0.09, 0.09), oval("ink", -0.55, -0.35, 0.09, 0.09),
        oval("main", 0.2, 0.05, 0.65, 0.65), oval("dark", 0.2, 0.05, 0.45, 0.45), oval("main", 0.24, 0.05, 0.3, 0.32), oval("dark", 0.22, 0.02, 0.12, 0.12),
    )  # fmt: skip


def _house():
    return (
        box("dark", 0.35, -0.85, 0.6, -0.3), box("main", -0.7, -0.15, 0.7, 0.95), poly("dark", (-1, -0.1), (0, -0.95), (1, -0.1)),
        box("ink", -0.18, 0.35, 0.18, 0.95), *mirrored(box("window", 0.32, 0.15, 0.58, 0.45)),
    )  # fmt: skip


def _castle():
    teeth = [box("main", x, -0.35, x + 0.22, 0.1) for x in (-0.44, -0.11, 0.22)]
    return (
        box("main", -0.6, -0.1, 0.6, 0.95), *teeth, *mirrored(box("main", 0.5, -0.4, 0.95, 0.95)), *mirrored(poly("dark", (0.42, -0.38), (0.72, -1), (1, -0.38))),
        *mirrored(box("ink", 0.65, -0.1, 0.8, 0.2)), oval("ink", 0, 0.55, 0.24, 0.3), box("ink", -0.24, 0.55, 0.24, 0.95),
    )  # fmt: skip


def _tree():
    return (
        box("wood", -0.14, 0.3, 0.14, 0.98), oval("main", -0.45, 0.1, 0.48, 0.42), oval("main", 0.45, 0.1, 0.48, 0.42), oval("main", 0, -0.4, 0.62, 0.56),
        oval("light", -0.2, -0.5, 0.22, 0.18), oval("dark", 0.45, 0.2, 0.2, 0.14), oval("dark", -0.4, 0.25, 0.18, 0.12),
    )  # fmt: skip


def _flower():
    petals = [
        oval("main", 0.5 * math.cos(a), -0.35 + 0.5 * math.sin(a), 0.3, 0.3)
        for a in (math.pi / 3 * i + math.pi / 6 for i in range(6))
    ]
    return (
        line("leaf", 0.16, (0, 0), (0, 0.98)),
        oval("leaf", 0.32, 0.68, 0.3, 0.14),
        oval("leaf", -0.32, 0.8, 0.3, 0.14),
        *petals,
        oval("dark", 0, -0.35, 0.28, 0.28),
    )


def _mushroom():
    cap = ((0.95 * math.cos(a), 0.1 - 0.98 * math.sin(a)) for a in (math.pi * i / 20 for i in range(21)))
    return (
        poly("paper", (-0.3, 0), (0.3, 0), (0.42, 0.95), (-0.42, 0.95)), poly("main", *cap), oval("paper", 0, -0.5, 0.2, 0.2),
        *mirrored(oval("paper", 0.52, -0.22, 0.15, 0.15)), box("dark", -0.95, 0.02, 0.95, 0.16),
    )  # fmt: skip


def _cactus():
    return (
        line("main", 0.3, (0.1, 0.5), (0.65, 0.45), (0.65, -0.3)), line("main", 0.3, (-0.1, 0.25), (-0.65, 0.2), (-0.65, -0.5)), oval("main", 0, -0.6, 0.3, 0.36),
        box("main", -0.3, -0.6, 0.3, 0.95), line("dark", 0.08, (-0.1, -0.6), (-0.1, 0.9)), line("dark", 0.08, (0.12, -0.6), (0.12, 0.9)),
        oval("blossom", 0, -0.88, 0.16, 0.12),
    )  # fmt: skip


def _car():
    return (
        poly("main", (-0.6, 0), (-0.35, -0.55), (0.4, -0.55), (0.7, 0)), box("main", -0.98, -0.05, 0.98, 0.42), poly("window", (-0.42, -0.05), (-0.25, -0.4), (-0.02, -0.4), (-0.02, -0.05)),
        poly("window", (0.08, -0.05), (0.08, -0.4), (0.33, -0.4), (0.52, -0.05)), box("dark", -0.98, 0.25, 0.98, 0.42), *mirrored(oval("ink", 0.52, 0.42, 0.27, 0.27)),
        *mirrored(oval("paper", 0.52, 0.42, 0.12, 0.12)),
    )  # fmt: skip


def _boat():
    return (
        line("wood", 0.1, (0, -0.95), (0, 0.5)), poly("light", (0.08, -0.9), (0.85, 0.25), (0.08, 0.25)), poly("main", (-0.08, -0.75), (-0.7, 0.25), (-0.08, 0.25)),
        poly("main", (-0.98, 0.4), (0.98, 0.4), (0.62, 0.92), (-0.62, 0.92)), line("dark", 0.12, (-0.9, 0.5), (0.9, 0.5)),
    )  # fmt: skip


def _rocket():
    return (
        poly("flame", (-0.22, 0.6), (0, 1), (0.22, 0.6)), *mirrored(poly("dark", (0.25, 0.1), (0.72, 0.75), (0.25, 0.6))),
        poly("main", (0, -1), (0.25, -0.62), (0.36, -0.1), (0.26, 0.66), (-0.26, 0.66), (-0.36, -0.1), (-0.25, -0.62)),
        poly("dark", (0, -1), (0.25, -0.62), (-0.25, -0.62)), oval("paper", 0, -0.15, 0.22, 0.22), oval("window", 0, -0.15, 0.14, 0.14),
    )  # fmt: skip


def _balloon():
    return (
        line("ink", 0.06, (-0.35, 0.2), (-0.16, 0.7)), line("ink", 0.06, (0.35, 0.2), (0.16, 0.7)), box("wood", -0.22, 0.66, 0.22, 0.98),
        oval("main", 0, -0.35, 0.7, 0.63), poly("main", (-0.55, 0.03), (0.55, 0.03), (0.2, 0.5), (-0.2, 0.5)), oval("light", 0, -0.35, 0.24, 0.63),
        box("dark", -0.2, 0.4, 0.2, 0.5),
    )  # fmt: skip


def _star():
    points = tuple(
        ((r := 1 if i % 2 == 0 else 0.45) * math.sin(math.pi * i / 5), 0.06 - r * math.cos(math.pi * i / 5))
        for i in range(10)
    )
    return (poly("main", *points), poly("light", (0, -0.6), (0.14, -0.15), (-0.14, -0.15)))


def _heart():
    outline = curve(
        lambda t: 0.98 * math.sin(t) ** 3,
        lambda t: (
            -(0.8 * math.cos(t) - 0.33 * math.cos(2 * t) - 0.13 * math.cos(3 * t) - 0.06 * math.cos(4 * t)) - 0.05
        ),
    )
    return (poly("main", *outline), oval("light", -0.45, -0.4, 0.18, 0.14))


def _moon():
    outer = [(-0.1 + 0.9 * math.cos(a), 0.9 * math.sin(a)) for a in (math.radians(d) for d in range(-50, -311, -10))]
    inner = [(0.32 + 0.66 * math.cos(a), 0.66 * math.sin(a)) for a in (math.radians(d) for d in range(-275, -84, 10))]
    return (poly("main", *outer, *inner), oval("dark", -0.66, -0.1, 0.12, 0.12), oval("dark", -0.45, 0.5, 0.09, 0.09))


def _umbrella():
    top = ((0.98 * math.cos(a), 0.05 - 0.95 * math.sin(a)) for a in (math.pi * i / 20 for i in range(21)))
    return (
        line("ink", 0.1, (0, 0), (0, 0.8), (0.1, 0.92), (0.25, 0.9), (0.3, 0.75)), poly("main", *top), poly("light", (0, -0.9), (0.33, 0.05), (-0.33, 0.05)),
        *mirrored(line("dark", 0.07, (0, -0.9), (0.33, 0.05))), line("dark", 0.08, (-0.95, 0.05), (0.95, 0.05)),
    )  # fmt: skip


def _cup():
    return (
        line("main", 0.18, (0.5, -0.25), (0.88, -0.25), (0.88, 0.35), (0.5, 0.4)), poly("main", (-0.75, -0.5), (0.6, -0.5), (0.48, 0.85), (-0.62, 0.85)),
        oval("dark", -0.075, -0.5, 0.68, 0.16), box("light", -0.68, 0.05, 0.54, 0.25), line("paper", 0.1, (-0.3, -0.72), (-0.2, -0.98)), line("paper", 0.1, (0.15, -0.72), (0.25, -0.98)),
    )  # fmt: skip


def _apple():
    return (
        line("wood", 0.12, (0, -0.5), (0.08, -0.95)), oval("leaf", 0.36, -0.78, 0.28, 0.14), oval("main", -0.32, 0.2, 0.56, 0.7), oval("main", 0.32, 0.2, 0.56, 0.7),
        oval("light", -0.5, 0.0, 0.15, 0.24), oval("dark", 0, -0.38, 0.2, 0.09),
    )  # fmt: skip


def _robot():
    return (
        line("ink", 0.07, (0, -0.7), (0, -0.95)), oval("flame", 0, -0.92, 0.1, 0.1), box("main", -0.5, -0.75, 0.5, -0.08), box("main", -0.62, 0.0, 0.62, 0.66),
        *mirrored(box("dark", 0.68, 0.05, 0.92, 0.55)), *mirrored(box("dark", 0.14, 0.66, 0.46, 0.97)), *mirrored(oval("window", 0.24, -0.46, 0.15, 0.15)),
        box("ink", -0.28, -0.24, 0.28, -0.15), box("light", -0.34, 0.14, 0.34, 0.48),
    )  # fmt: skip


def _ghost():
    top = [(0.7 * math.cos(a), -0.2 - 0.76 * math.sin(a)) for a in (math.pi * i / 16 for i in range(17))]
    hem = [(-0.7, 0.95), (-0.46, 0.68), (-0.23, 0.95), (0, 0.68), (0.23, 0.95), (0.46, 0.68), (0.7, 0.95)]
    return (
        poly("main", *top, *hem), *mirrored(oval("paper", 0.27, -0.25, 0.2, 0.24)), *mirrored(oval("ink", 0.25, -0.2, 0.1, 0.14)), oval("ink", 0, 0.25, 0.14, 0.12),
    )  # fmt: skip


def _crown():
    return (
        poly("main", (-0.85, 0.75), (-0.98, -0.45), (-0.48, 0.05), (0, -0.75), (0.48, 0.05), (0.98, -0.45), (0.85, 0.75)), box("dark", -0.85, 0.45, 0.85, 0.78),
        oval("light", 0, -0.75, 0.13, 0.13), *mirrored(oval("light", 0.93, -0.45, 0.12, 0.12)), oval("paper", 0, 0.62, 0.12, 0.1), *mirrored(oval("paper", 0.45, 0.62, 0.12, 0.1)),
    )  # fmt: skip


@lru_cache
def shape(kind: str) -> tuple[Primitive, ...]:
    """The primitives of a kind, back to front."""
    makers = (
        _cat, _rabbit, _fish, _bird, _turtle, _butterfly, _snail, _house, _castle, _tree, _flower, _mushroom, _cactus, _car, _boat, _rocket,
        _balloon, _star, _heart, _moon, _umbrella, _cup, _apple, _robot, _ghost, _crown,
    )  # fmt: skip
    return {make.__name__[1:]: make() for make in makers}[kind]
