"""Weights for each block of a U-Net (merge block weighted), in the order IN00 ..., M00, OUT00 ..., and their presets."""

import math

from modules.core.errors import InputError, nearest, short

FIELD = "block_weights"
COUNTS = {25: "Stable Diffusion 1.x and 2.x", 19: "XL"}
"""Blocks of each kind of U-Net; one weight more is BASE, in front, for all that is in no block."""

_QUARTER = (0.0, 0.0, 0.0, 0.0)
PRESETS: dict[str, tuple[float, ...]] = {
    "GRAD_V": tuple(abs(i - 12) / 12 for i in range(25)),
    "GRAD_A": tuple(1 - abs(i - 12) / 12 for i in range(25)),
    "FLAT_25": (0.25,) * 25,
    "FLAT_75": (0.75,) * 25,
    "WRAP08": (1.0,) * 4 + (0.0,) * 17 + (1.0,) * 4,
    "WRAP12": (1.0,) * 6 + (0.0,) * 13 + (1.0,) * 6,
    "WRAP14": (1.0,) * 7 + (0.0,) * 11 + (1.0,) * 7,
    "WRAP16": (1.0,) * 8 + (0.0,) * 9 + (1.0,) * 8,
    "MID12_50": (0.0,) * 5 + (0.5,) * 14 + (0.0,) * 6,
    "OUT07": (0.0,) * 18 + (1.0,) * 7,
    "OUT12": (0.0,) * 13 + (1.0,) * 12,
    "OUT12_5": (0.0,) * 12 + (0.5,) + (1.0,) * 12,
    "RING08_SOFT": (*_QUARTER, 0, 0.5, 1, 1, 1, 0.5, *_QUARTER, 0, 0.5, 1, 1, 1, 0.5, 0, *_QUARTER),
    "RING08_5": (*_QUARTER, 0, 0, 1, 1, 1, 1, 0, *_QUARTER, 1, 1, 1, 1, 0, 0, *_QUARTER),
    "RING10_5": (*_QUARTER, 0, 1, 1, 1, 1, 1, 0, *_QUARTER, 1, 1, 1, 1, 1, 0, *_QUARTER),
    "RING10_3": (*_QUARTER, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, *_QUARTER),
    "NORMAL-SIGMOID": tuple(3 * (i / 24) ** 2 - 2 * (i / 24) ** 3 for i in range(25)),
    "REVERSE-SIGMOID": tuple(1 - 3 * (i / 24) ** 2 + 2 * (i / 24) ** 3 for i in range(25)),
}
"""The presets that the merge-block-weighted extension made common, for 25 blocks."""


def read_block_weights(text: str) -> tuple[float, ...]:
    """The weights that a preset's name or numbers between commas mean; () for no text. Raises InputError."""
    if not text.strip():
        return ()
    preset = {name.casefold(): name for name in PRESETS}.get(text.strip().casefold())
    if preset:
        return PRESETS[preset]
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1:
        raise InputError(
            FIELD, f"{FIELD} is {short(text)}, which is neither numbers nor a preset. {nearest(text, PRESETS)}"
        )
    weights = tuple(_number(part, place) for place, part in enumerate(parts, 1))
    if len(weights) not in (19, 20, 25, 26):
        raise InputError(
            FIELD,
            f"{FIELD} holds {len(weights)} numbers: Stable Diffusion 1.x and 2.x take 25 (26 with BASE in front), XL 19 (20 with BASE).",
        )
    return weights


def fitted(weights: tuple[float, ...], blocks: int, base: float, *, preset: bool) -> tuple[float, tuple[float, ...]]:
    """BASE and the weight of each of `blocks` blocks. A `preset` is stretched to them; numbers must be as many. Raises InputError."""
    if preset:
        return base, tuple(_at(weights, i / (blocks - 1)) for i in range(blocks))
    if len(weights) - blocks not in (0, 1):
        raise InputError(
            FIELD,
            f"{FIELD} holds {len(weights)} numbers, and these checkpoints ({COUNTS.get(blocks, 'of their own kind')}) have {blocks} blocks: give {blocks}, or {blocks + 1} with BASE in front.",
        )
    return (base, weights) if len(weights) == blocks else (weights[0], weights[1:])


def is_preset(text: str) -> bool:
    """Is that the name of a preset?"""
    return text.strip().casefold() in (name.casefold() for name in PRESETS)


def _at(weights: tuple[float, ...], place: float) -> float:
    """The weight at 0 (first) to 1 (last), between neighbours in proportion."""
    exact = place * (len(weights) - 1)
    lower = min(int(exact), len(weights) - 2)
    part = exact - lower
    return weights[lower] * (1 - part) + weights[lower + 1] * part


def _number(part: str, place: int) -> float:
    try:
        value = float(part)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise InputError(FIELD, f"{FIELD} holds {short(part)} as number {place}: it must be a number from 0 to 1.")
    return value
