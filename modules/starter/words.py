"""Caption pieces -> padded CLIP token ids, with the attributes that training of the text encoder wants read at each token."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from modules.prompting.tokenizer import build_tokenizer

from .captions import Caption, Piece
from .parts import PAD, START, TOKENS
from .scene import COLOURS, KINDS, PLACES, SIZES, STYLES, Scene

SPOTS = ("centre", "left", "right", "top", "bottom", "middle")
"""Where a thing stands, as the words tell it."""
HEADS = {
    "kind": len(KINDS) + 1,
    "colour": len(COLOURS) + 1,
    "size": len(SIZES),
    "spot": len(SPOTS) + 1,
    "place": len(PLACES) + 1,
    "style": len(STYLES) + 1,
}
"""Classes of each attribute; the last one, where there is one more than names, means untold."""
IGNORE = -100

Encode = Callable[[str], list[int]]


@lru_cache
def clip_words() -> Encode:
    """OpenAI CLIP's byte-pair encoding, words -> ids without start and end, with a memory."""
    tokenizer = build_tokenizer()
    return lru_cache(maxsize=65536)(lambda text: tokenizer.encode(text, add_special_tokens=False).ids)


def pad(ids: list[int]) -> list[int]:
    """Start, ids cut to 75, and end repeated to 77."""
    ids = ids[: TOKENS - 2]
    return [START, *ids] + [PAD] * (TOKENS - 1 - len(ids))


def tokenize(texts: list[str]) -> Tensor:
    """Strings -> (B, 77) ids."""
    return torch.tensor([pad(clip_words()(text)) for text in texts])


@dataclass(frozen=True)
class Lesson:
    """Ids (77) and, per head, the class wanted at each token (77), IGNORE where none is."""

    ids: list[int]
    targets: dict[str, list[int]]


def lesson(scene: Scene, told: Caption, rng: random.Random | None = None) -> Lesson:
    """A caption as a lesson. With `rng`, sometimes a word of no meaning is put between pieces, to be passed over.

    A thing's attributes are wanted at the last token of each piece about it. The padding carries the whole: at a
    padding position p the thing told first, second, third (p % 4 = 0, 1, 2), or place and style (3).
    """
    encode, ids = clip_words(), [START]
    targets = {name: [IGNORE] * TOKENS for name in HEADS}
    for piece in told.pieces:
        if rng and rng.random() < 0.015:
            ids += [rng.randrange(500, 40000) for _ in range(rng.randint(1, 2))]
        ids += encode(piece.text)
        if piece.thing is not None and len(ids) < TOKENS:
            _want_thing(targets, len(ids) - 1, scene, told, piece)
    end = len(ids)
    ids = pad(ids[1:])
    for position in range(end, TOKENS):
        slot = position % 4
        if slot == 3:
            targets["place"][position] = PLACES.index(scene.place) if told.placed else len(PLACES)
            targets["style"][position] = STYLES.index(scene.style) if told.styled else len(STYLES)
        elif slot < len(told.order):
            _want_thing(targets, position, scene, told, Piece("", told.order[slot], True))
        else:
            targets["kind"][position] = len(KINDS)
    return Lesson(ids, targets)


def _want_thing(targets: dict[str, list[int]], position: int, scene: Scene, told: Caption, piece: Piece) -> None:
    index = piece.thing or 0
    thing = scene.things[index]
    targets["kind"][position] = KINDS.index(thing.kind)
    targets["colour"][position] = COLOURS.index(thing.colour) if told.coloured[index] else len(COLOURS)
    targets["size"][position] = SIZES.index(thing.size)
    if piece.placed:
        targets["spot"][position] = (
            SPOTS.index(spot(scene, index)) if told.related or len(scene.things) == 1 else len(SPOTS)
        )


def spot(scene: Scene, index: int) -> str:
    """Where the scene's composition puts a thing."""
    if len(scene.things) == 1:
        return "centre"
    if len(scene.things) == 3:
        return ("left", "middle", "right")[index]
    ends = {
        "left": ("left", "right"),
        "right": ("right", "left"),
        "above": ("top", "bottom"),
        "below": ("bottom", "top"),
    }
    return ends[scene.relation or "left"][index]
