"""A scene of the starter world: what is in the picture, as data, and how one is drawn by lot."""

import hashlib
import random
from dataclasses import dataclass

KINDS = (
    "cat", "rabbit", "fish", "bird", "turtle", "butterfly", "snail", "house", "castle", "tree", "flower", "mushroom", "cactus",
    "car", "boat", "rocket", "balloon", "star", "heart", "moon", "umbrella", "cup", "apple", "robot", "ghost", "crown",
)  # fmt: skip
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
PLACES = ("beach", "forest", "desert", "snow", "city", "meadow", "underwater", "night")
STYLES = ("flat", "line", "watercolour", "pixel", "neon")
SIZES = ("small", "medium", "big")
RELATIONS = ("left", "right", "above", "below")

GRID = 8
"""Things stand on multiples of this many pixels, the autoencoder's cell, so that a shape's latents do not depend on where it is."""
_WIDTHS = {1: (40, 64, 88), 2: (36, 48, 60), 3: (32, 40, 40)}  # pixels of 128, by size, for one to three things


@dataclass(frozen=True)
class Thing:
    """One thing; `x`, `y` (centre) and `width` in pixels of a 128-pixel picture."""

    kind: str
    colour: str
    size: str
    x: int
    y: int
    width: int


@dataclass(frozen=True)
class Scene:
    """One to three things at a place in a style. `relation` says where the first of two is, seen from the second."""

    things: tuple[Thing, ...]
    relation: str | None
    place: str
    style: str
    variant: int


def held_out(*, kind: str, colour: str, place: str, style: str) -> bool:
    """Whether training never sees this combination (one in twelve, by hash)."""
    digest = hashlib.sha256(f"{kind}/{colour}/{place}/{style}".encode()).digest()
    return digest[0] % 12 == 0


def is_held_out(scene: Scene) -> bool:
    """Whether any thing of the scene is a held-out combination."""
    return any(held_out(kind=t.kind, colour=t.colour, place=scene.place, style=scene.style) for t in scene.things)


def random_scene(rng: random.Random, *, count: int | None = None) -> Scene:
    """A scene drawn by lot, held-out combinations included."""
    n = count or rng.choices((1, 2, 3), weights=(40, 52, 8))[0]
    relation = rng.choice(RELATIONS) if n == 2 else None
    kinds = rng.sample(KINDS, n)
    colours = [rng.choice(COLOURS) for _ in range(n)]
    sizes = [rng.choices(SIZES, weights=(1, 2, 1))[0] for _ in range(n)]
    if n == 3:
        sizes = ["medium"] * 3
    things = []
    for (x, y), kind, colour, size in zip(_centres(rng, n, relation), kinds, colours, sizes, strict=True):
        width = _WIDTHS[n][SIZES.index(size)]
        things.append(Thing(kind=kind, colour=colour, size=size, width=width, x=_inside(x, width), y=_inside(y, width)))
    return Scene(
        things=tuple(things),
        relation=relation,
        place=rng.choice(PLACES),
        style=rng.choice(STYLES),
        variant=rng.randrange(4),
    )


def training_scene(rng: random.Random) -> Scene:
    """A scene without held-out combinations."""
    return next(scene for scene in iter(lambda: random_scene(rng), None) if not is_held_out(scene))


def test_scene(rng: random.Random, *, count: int | None = None) -> Scene:
    """A scene in which every thing is a held-out combination."""
    while True:
        scene = random_scene(rng, count=count)
        if all(held_out(kind=t.kind, colour=t.colour, place=scene.place, style=scene.style) for t in scene.things):
            return scene


def _centres(rng: random.Random, n: int, relation: str | None) -> list[tuple[int, int]]:
    """Centres in pixels for n things, multiples of GRID."""
    if n == 1:
        return [(64 + GRID * rng.randint(-3, 3), 72 + GRID * rng.randint(-1, 1))]
    if n == 3:
        return [(x, 72 + GRID * rng.randint(-2, 2)) for x in (24, 64, 104)]
    near, far = 32 + GRID * rng.randint(-1, 0), 96 + GRID * rng.randint(0, 1)
    if relation in ("left", "right"):
        pair = [(near, 72 + GRID * rng.randint(-1, 1)), (far, 72 + GRID * rng.randint(-1, 1))]
    else:
        pair = [(64 + GRID * rng.randint(-2, 2), near), (64 + GRID * rng.randint(-2, 2), far)]
    return pair if relation in ("left", "above") else pair[::-1]


def _inside(centre: int, width: int) -> int:
    """The centre moved, on the grid, until the thing has 2 pixels of margin."""
    low = -(-(width // 2 + 2) // GRID) * GRID
    return min(max(centre, low), 128 - low)
