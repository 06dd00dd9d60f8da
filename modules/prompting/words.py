"""Words of a prompt that stand for vectors of their own: textual inversions. In chunks each vector is an id that no tokenizer gives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

VECTORS = 2**20
"""The first such id."""


@dataclass(frozen=True)
class Word:
    """A name as the tokenizer gives it, and the ids that stand for its vectors."""

    name: str
    tokens: tuple[int, ...]
    vectors: range


class Words:
    """Finds words in tokens; of several that begin alike the longest."""

    def __init__(self, named: Iterable[tuple[str, tuple[int, ...], int]]) -> None:
        """`named`: names, their tokens and how many vectors each has; ids are given in that order."""
        self._by_first: dict[int, list[Word]] = {}
        first = VECTORS
        for name, tokens, count in named:
            if tokens:
                word = Word(name, tokens, range(first, first + count))
                self._by_first.setdefault(tokens[0], []).append(word)
            first += count
        for words in self._by_first.values():
            words.sort(key=lambda word: len(word.tokens), reverse=True)

    def at(self, tokens: Sequence[int], position: int) -> Word | None:
        """The word that begins at that position."""
        for word in self._by_first.get(tokens[position], ()):
            if tuple(tokens[position : position + len(word.tokens)]) == word.tokens:
                return word
        return None

    def within(self, tokens: Sequence[int]) -> list[Word]:
        """All words, from left to right."""
        found, position = [], 0
        while position < len(tokens):
            word = self.at(tokens, position)
            if word:
                found.append(word)
            position += len(word.tokens) if word else 1
        return found


NONE = Words(())
