"""How many tokens a prompt comes to, as the text encoders count them."""

from collections.abc import Iterable
from dataclasses import dataclass

from tokenizers import Tokenizer

from modules.prompting.attention import BREAK, parse_attention
from modules.prompting.chunks import CHUNK, Chunk, make_chunks
from modules.prompting.prompt import Prompt
from modules.prompting.tokenizer import END, build_tokenizer
from modules.prompting.words import NONE, Words

MOST_TEXTS = 64
"""Of a prompt that changes at every step the longest of its texts are counted."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """`tokens` of `room`, as A1111 shows them: chunks before the last one count as full. `exact`: by the family's own tokenizer."""

    tokens: int
    room: int
    exact: bool = True


def texts_of(prompt: Prompt) -> list[str]:
    """What a prompt is at one step or another, and its parts joined by AND, each on its own: the longest, each once."""
    found = {span.text for spans, _ in prompt.parts for span in spans}
    return sorted(found, key=lambda text: (-len(text), text))[:MOST_TEXTS]


def count_clip(texts: Iterable[str], *, attention: bool = True, backtrack: int = 20, words: Words = NONE) -> Count:
    """The longest of the texts in chunks of 75, as `make_chunks` divides them."""
    tokenizer = build_tokenizer()
    divided = [make_chunks(text, tokenizer, attention=attention, backtrack=backtrack, words=words) for text in texts]
    tokens, chunks = max(
        (((len(chunks) - 1) * CHUNK + _filled(chunks[-1]), len(chunks)) for chunks in divided), default=(0, 1)
    )
    return Count(tokens=tokens, room=chunks * CHUNK)


def count_whole(texts: Iterable[str], tokenizer: Tokenizer, most: int, *, lower: bool, brackets: bool) -> Count:
    """The longest of the texts with a tokenizer that knows no chunks; `brackets`: are they weights, and BREAK none of the words?"""
    counts = [0]
    for text in texts:
        read = text.lower() if lower else text
        pieces = [piece for piece, weight in parse_attention(read) if (piece, weight) != (BREAK, -1)]
        parts = pieces if brackets else [read]
        counts.append(sum(len(tokenizer.encode(part, add_special_tokens=False).ids) for part in parts))
    return Count(tokens=max(counts), room=most)


def _filled(chunk: Chunk) -> int:
    """How many of a chunk's tokens are not its end."""
    inside = list(chunk.ids[1:-1])
    while inside and inside[-1] == END:
        inside.pop()
    return len(inside)
