"""Attention: `(a)` weighs its text 1.1 times, `[a]` 1/1.1 times, `(a:1.3)` 1.3 times; `\\(` is a bracket of text.

Round and square brackets are counted apart, so they may cross; one that is never closed reaches to the end, one that
closes nothing is text. BREAK stands alone, with weight -1.
"""

import math
import re
from collections.abc import Iterator

BREAK = "BREAK"
ROUND = 1.1
SQUARE = 1 / 1.1
EXACT_DEPTH = 256

_TOKEN = re.compile(
    r"""
    \\(?P<escaped>[()\[\]\\]?)                     # a lone backslash vanishes
    | (?P<open>[(\[])
    | :\s*(?P<weight>[+-]?[.\d]+)\s*\)
    | (?P<close>[)\]])
    | [^\\()\[\]:]+ | :
    """,
    re.VERBOSE,
)
_BREAK = re.compile(rf"\b{BREAK}\b")

Weighted = tuple[str, float]  # a piece of text and its weight


class _Brackets:
    """All brackets of a text, in the order in which they were opened.

    Number i is round or not, weighs the pieces from number start[i] up to end[i] and was the closed[i]-th to be closed.
    """

    def __init__(self) -> None:
        self.round: list[bool] = []
        self.start: list[int] = []
        self.end: list[int] = []
        self.closed: list[int] = []
        self.weight: list[float] = []
        self._open: dict[bool, list[int]] = {True: [], False: []}
        self._closings = 0

    def open(self, round: bool, piece: int) -> None:
        self._open[round].append(len(self.start))
        self.round.append(round)
        self.start.append(piece)
        self.end.append(0)
        self.closed.append(0)
        self.weight.append(1.0)

    def any_open(self, round: bool) -> bool:
        return bool(self._open[round])

    def close(self, round: bool, piece: int, weight: float) -> None:
        """Close the last one of its kind."""
        self._close(self._open[round].pop(), piece, weight)

    def close_all(self, piece: int) -> None:
        """Close what is still open: round before square ones, those opened first before the others."""
        for round, weight in ((True, ROUND), (False, SQUARE)):
            for i in self._open[round]:
                self._close(i, piece, weight)
            self._open[round].clear()

    def _close(self, i: int, piece: int, weight: float) -> None:
        self.end[i], self.closed[i], self.weight[i] = piece, self._closings, weight
        self._closings += 1


def parse_attention(text: str) -> list[Weighted]:
    """The pieces of a prompt with their weights; neighbours of equal weight are one. Linear in the length of the text.

    Each weight is the product of its brackets' weights, multiplied in the order in which they are closed, as A1111
    does; beyond EXACT_DEPTH brackets around one piece the order is another one, which changes the last digits.
    """
    pieces, breaks, brackets = _read(text)
    merged: list[Weighted] = []
    equal: list[str] = []
    last = 1.0
    for i, weight in enumerate(_products(len(pieces), brackets)):
        if i in breaks:
            weight = -weight
        if weight != last and equal:
            merged.append(("".join(equal), last))
            equal.clear()
        equal.append(pieces[i])
        last = weight
    return [*merged, ("".join(equal), last)]


def _read(text: str) -> tuple[list[str], set[int], _Brackets]:
    """The pieces of text, which of them are BREAKs, and the brackets around them."""
    pieces: list[str] = []
    breaks: set[int] = set()
    brackets = _Brackets()
    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup, match[0]
        if kind == "escaped":
            pieces.append(match["escaped"])
        elif kind == "open":
            brackets.open(token == "(", len(pieces))
        elif kind == "close" and brackets.any_open(token == ")"):
            brackets.close(token == ")", len(pieces), ROUND if token == ")" else SQUARE)
        elif kind == "weight" and brackets.any_open(True):
            weight = _number(match["weight"])
            if weight is None:  # "1.2.3": text, and the bracket that it closes
                pieces.append(token[:-1])
            brackets.close(True, len(pieces), ROUND if weight is None else weight)
        else:
            first, *others = _BREAK.split(token) if BREAK in token else (token,)
            pieces.append(first.rstrip() if others else first)
            for number, other in enumerate(others, start=1):
                breaks.add(len(pieces))
                pieces += BREAK, other.lstrip() if number == len(others) else other.strip()
    brackets.close_all(len(pieces))
    return pieces, breaks, brackets


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _products(count: int, brackets: _Brackets) -> Iterator[float]:
    """The product of the weights of the brackets around each piece. Those of one kind nest, so each kind is a stack."""
    stacks = {True: _Stack(brackets), False: _Stack(brackets)}
    one, other = stacks.values()
    number, total = 0, len(brackets.start)
    for piece in range(count):
        one.close_before(piece)
        other.close_before(piece)
        while number < total and brackets.start[number] <= piece:
            if brackets.end[number] > piece:
                stacks[brackets.round[number]].push(number)
            number += 1
        depth = len(one.numbers) + len(other.numbers)
        if depth <= 1 or depth > EXACT_DEPTH:
            yield one.products[-1] * other.products[-1]
        else:
            around = sorted(one.numbers + other.numbers, key=brackets.closed.__getitem__)
            yield math.prod(map(brackets.weight.__getitem__, around), start=1.0)


class _Stack:
    """The numbers of the brackets of one kind around a piece, outermost first, and the products of their weights."""

    def __init__(self, brackets: _Brackets) -> None:
        self.numbers: list[int] = []
        self.products = [1.0]
        self._brackets = brackets

    def push(self, number: int) -> None:
        self.numbers.append(number)
        self.products.append(self.products[-1] * self._brackets.weight[number])

    def close_before(self, piece: int) -> None:
        while self.numbers and self._brackets.end[self.numbers[-1]] <= piece:
            self.numbers.pop()
            self.products.pop()
