"""Weighted text to chunks of 75 tokens, each token with its weight."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from modules.prompting.attention import BREAK, Weighted, parse_attention
from modules.prompting.tokenizer import COMMA, END, START, token_ids
from modules.prompting.words import NONE, Words

CHUNK = 75
MAX_WEIGHT = 1e30  # what float32 still multiplies and sums


@dataclass(frozen=True)
class Chunk:
    """77 token ids, start, 75 tokens, end, and their weights; what is not filled is end tokens of weight 1."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, tokens: Sequence[tuple[int, float]]) -> "Chunk":
        """The chunk of at most 75 tokens and weights."""
        rows = [(START, 1.0), *tokens, *[(END, 1.0)] * (CHUNK + 1 - len(tokens))]
        return cls(tuple(token for token, _ in rows), tuple(weight for _, weight in rows))


EMPTY = Chunk.of([])


def make_chunks(
    text: str, tokenizer: Tokenizer, *, attention: bool, backtrack: int, words: Words = NONE
) -> list[Chunk]:
    """The chunks of a prompt, at least one. Without `attention` brackets and BREAK are text like any other.

    Where a chunk is full, what follows its last comma moves on to the next one if that, with the comma, is at most
    `backtrack` tokens. `words` stand for vectors, which stay together: where a chunk has no room for them the next one begins.
    """
    return divide(parse_attention(text) if attention else [(text, 1.0)], tokenizer, backtrack, words)


def divide(pieces: Iterable[Weighted], tokenizer: Tokenizer, backtrack: int, words: Words = NONE) -> list[Chunk]:
    """The pieces' tokens in chunks; a piece BREAK of weight -1 ends the chunk."""
    chunks: list[Chunk] = []
    tokens: list[tuple[int, float]] = []
    after_comma = 0  # how many tokens there are up to and with the last comma; 0 without one
    for text, weight in pieces:
        if text == BREAK and weight == -1:
            chunks.append(Chunk.of(tokens))
            tokens, after_comma = [], 0
            continue
        weight = bounded(weight)
        ids, position = token_ids(tokenizer, text), 0
        while position < len(ids):
            token, word = ids[position], words.at(ids, position)
            position += len(word.tokens) if word else 1
            if len(tokens) == CHUNK:
                moves = token != COMMA and after_comma and CHUNK + 1 - after_comma <= backtrack
                kept = after_comma if moves else CHUNK
                chunks.append(Chunk.of(tokens[:kept]))
                tokens, after_comma = tokens[kept:], 0
            if word:
                if len(tokens) + len(word.vectors) > CHUNK:
                    chunks.append(Chunk.of(tokens))
                    tokens, after_comma = [], 0
                tokens += [(vector, weight) for vector in word.vectors]
                continue
            tokens.append((token, weight))
            if token == COMMA:
                after_comma = len(tokens)
    if tokens or not chunks:
        chunks.append(Chunk.of(tokens))
    return chunks


def bounded(weight: float) -> float:
    """A weight that numbers can be multiplied with."""
    return 1.0 if math.isnan(weight) else min(max(weight, -MAX_WEIGHT), MAX_WEIGHT)
