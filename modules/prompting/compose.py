"""Composition: `a AND b :0.5` are two prompts with the weights 1 and 0.5 (Liu et al. 2022, arXiv:2206.01714)."""

import re

_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*")


def split_composed(text: str) -> tuple[tuple[str, float], ...]:
    """The prompts of a composition with their weights, without the space behind them; linear in the length.

    As in A1111 a number after the last colon is a weight even where there is no AND.
    """
    return tuple(_weighted(part) for part in _AND.split(text))


def _weighted(text: str) -> tuple[str, float]:
    before, colon, after = text.rpartition(":")
    number = _WEIGHT.fullmatch(after) if colon else None
    return (before.rstrip(), float(number[1])) if number else (text.rstrip(), 1.0)
