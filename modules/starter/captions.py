"""Captions of a scene in varied wording; what a caption leaves out may be anything in the picture."""

import random
from dataclasses import dataclass

from .scene import Scene, Thing

KIND_WORDS = {
    "cat": ("cat", "cat", "kitten"), "rabbit": ("rabbit", "rabbit", "bunny"), "turtle": ("turtle", "turtle", "tortoise"), "house": ("house", "house", "cottage"),
    "mushroom": ("mushroom", "mushroom", "toadstool"), "boat": ("boat", "boat", "sailboat", "sailing boat"), "balloon": ("balloon", "hot air balloon"),
    "moon": ("moon", "moon", "crescent moon"), "cup": ("cup", "cup", "mug"), "fish": ("fish",), "bird": ("bird",), "rocket": ("rocket", "rocket", "spaceship"),
}  # fmt: skip
COLOUR_WORDS = {"purple": ("purple", "purple", "violet"), "red": ("red", "red", "red", "scarlet")}
SIZE_WORDS = {"small": ("small", "small", "little", "tiny"), "big": ("big", "big", "large", "huge")}
PLACE_WORDS = {
    "beach": ("on the beach", "at the beach", "by the sea", "on a sandy beach"),
    "forest": ("in the forest", "in a forest", "in the woods", "among pine trees"),
    "desert": ("in the desert", "in a desert", "in a hot desert", "among sand dunes"),
    "snow": ("in the snow", "in snowy mountains", "in the mountains", "in a snowy landscape"),
    "city": ("in the city", "in a city", "on a city street", "in front of skyscrapers"),
    "meadow": ("in a meadow", "in the meadow", "on the grass", "in a grassy field"),
    "underwater": ("under water", "underwater", "under the sea", "at the bottom of the sea"),
    "night": ("in the night sky", "at night", "under the stars", "on a starry night", "in space"),
}
PLACE_TAGS = {
    "beach": ("beach", "sea"), "forest": ("forest", "woods"), "desert": ("desert",), "snow": ("snow", "mountains", "snowy mountains"),
    "city": ("city", "cityscape"), "meadow": ("meadow", "grass"), "underwater": ("underwater", "under water"), "night": ("night", "night sky", "stars"),
}  # fmt: skip
STYLE_NOUNS = {
    "flat": ("a flat illustration", "a cartoon", "a vector illustration", "a flat drawing"),
    "line": ("a line drawing", "an ink drawing", "a sketch", "line art"),
    "watercolour": ("a watercolour", "a watercolor painting", "a watercolour painting"),
    "pixel": ("pixel art", "an 8-bit picture", "a pixel art picture"),
    "neon": ("a neon sign", "neon art", "a neon picture"),
    "parchment": ("a parchment drawing", "an old map", "a parchment"),
}
STYLE_TAGS = {
    "flat": ("flat", "flat style", "cartoon", "vector art", "flat illustration"), "line": ("line drawing", "line art", "sketch", "ink drawing"),
    "watercolour": ("watercolour", "watercolor", "watercolour painting"), "pixel": ("pixel art", "pixel art", "8-bit"),
    "neon": ("neon", "neon", "neon lights", "neon glow"), "parchment": ("parchment", "on parchment", "parchment drawing"),
}  # fmt: skip
BETWEEN = {
    "left": ("left of", "to the left of", "on the left of"), "right": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over", "on top of"), "below": ("below", "under", "beneath", "underneath"),
}  # fmt: skip
SIDES = {
    "left": ("on the left", "on the right"),
    "above": ("at the top", "at the bottom"),
    "right": ("on the right", "on the left"),
    "below": ("at the bottom", "at the top"),
}
INVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}
FILLERS = (
    "masterpiece",
    "best quality",
    "highly detailed",
    "beautiful",
    "cute",
    "simple background",
    "8k",
    "a picture of",
    "a drawing of",
    "photo",
)


@dataclass(frozen=True)
class Piece:
    """A run of words. `thing`: which thing of the scene it speaks of; `placed`: whether that thing's place is known by its end."""

    text: str
    thing: int | None = None
    placed: bool = False


@dataclass(frozen=True)
class Caption:
    """The words, and what of the scene they tell: `order` of things, and whether colour, relation, place and style are said."""

    pieces: tuple[Piece, ...]
    order: tuple[int, ...]
    coloured: tuple[bool, ...]
    related: bool
    placed: bool
    styled: bool

    @property
    def text(self) -> str:
        joined = " ".join(piece.text for piece in self.pieces)
        return joined.replace(" ,", ",").replace(" :", ":").strip()


def caption(scene: Scene, rng: random.Random) -> str:
    """One caption of the scene, as a string."""
    return tell(scene, rng).text


def tell(scene: Scene, rng: random.Random, *, everything: bool = False) -> Caption:
    """One caption of the scene; `everything`: nothing left out."""
    tags = rng.random() < 0.2
    placed, styled = everything or rng.random() > 0.12, everything or rng.random() > 0.12
    coloured = tuple(everything or rng.random() > 0.08 for _ in scene.things)
    related = len(scene.things) == 3 or (len(scene.things) == 2 and (everything or rng.random() > 0.1))
    order = (1, 0) if len(scene.things) == 2 and rng.random() < 0.35 else tuple(range(len(scene.things)))
    names = [Piece(_name(scene.things[i], coloured[i], rng, bare=tags), i, len(order) == 3 and i == 2) for i in order]
    body = _body(scene, names, order, related, tags, rng)
    place, style = rng.choice((PLACE_TAGS if tags else PLACE_WORDS)[scene.place]), rng.choice(STYLE_TAGS[scene.style])
    if tags:
        extra = [Piece(place)] * placed + [Piece(style)] * styled
        rng.shuffle(extra)
        pieces = _commas(extra, [body]) if rng.random() < 0.15 else _commas([body], extra)
    else:
        pieces = _sentence(
            body,
            Piece(place) if placed else None,
            Piece(style) if styled else None,
            rng.choice(STYLE_NOUNS[scene.style]),
            rng,
        )
    if not everything and rng.random() < 0.12:
        filler = [Piece(rng.choice(FILLERS)), Piece(",")]
        pieces = filler + pieces if rng.random() < 0.4 else pieces + filler[::-1]
    return Caption(pieces=tuple(pieces), order=order, coloured=coloured, related=related, placed=placed, styled=styled)


def _name(thing: Thing, coloured: bool, rng: random.Random, *, bare: bool) -> str:
    """A noun phrase; "medium" is what an unsaid size means."""
    words = [rng.choice(SIZE_WORDS[thing.size])] if thing.size != "medium" else []
    words += [rng.choice(COLOUR_WORDS.get(thing.colour, (thing.colour,)))] if coloured else []
    words.append(rng.choice(KIND_WORDS.get(thing.kind, (thing.kind,))))
    if bare:
        return " ".join(words)
    article = "the" if rng.random() < 0.1 else "an" if words[0][0] in "aeiou" else "a"
    return " ".join((article, *words))


def _body(
    scene: Scene, names: list[Piece], order: tuple[int, ...], related: bool, tags: bool, rng: random.Random
) -> list[Piece]:
    """The things and how they stand."""
    if len(names) == 1:
        return names
    if len(names) == 3:
        start = [Piece("from left to right"), Piece(":")] if rng.random() < 0.2 else []
        return [*start, names[0], Piece(","), names[1], Piece("," if tags else "and"), names[2]]
    first, second = names
    if not related:
        return [first, Piece(rng.choice((",",) if tags else ("and", "with", "and"))), second]
    relation = scene.relation or ""
    relation = relation if order[0] == 0 else INVERSE[relation]
    if not tags and rng.random() < 0.25:
        one, other = SIDES[relation]
        return [
            first,
            Piece(one, first.thing, True),
            Piece(rng.choice((",", "and"))),
            Piece(second.text, second.thing, True),
            Piece(other, second.thing, True),
        ]
    return [first, Piece(rng.choice(BETWEEN[relation]), first.thing, True), Piece(second.text, second.thing, True)]


def _sentence(
    body: list[Piece], place: Piece | None, style: Piece | None, noun: str, rng: random.Random
) -> list[Piece]:
    """Puts the body, the place and the style in one of several orders."""
    if place and rng.random() < 0.2:
        start = [place, Piece(",")]
        if style and rng.random() < 0.45:
            return [*start, Piece(noun), Piece("of"), *body]
        return [*start, *body, Piece(","), style] if style else [*start, *body]
    told = body + ([Piece(","), place] if place and rng.random() < 0.2 else [place] if place else [])
    if not style:
        return told
    way = rng.random()
    if way < 0.45:
        return [Piece(noun), Piece("of"), *told]
    if way < 0.6:
        return [style, Piece(","), *told]
    if way < 0.9:
        return [*told, Piece(","), style]
    return [*told, Piece(","), Piece("in the style of"), Piece(noun)]


def _commas(first: list, second: list) -> list[Piece]:
    """Tags in order with commas between; a list within counts as one tag."""
    pieces: list[Piece] = []
    for item in first + second:
        pieces += [Piece(",")] if pieces else []
        pieces += item if isinstance(item, list) else [item]
    return pieces
