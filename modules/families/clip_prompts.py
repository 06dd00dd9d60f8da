"""Text to conditioning: chunks of 75 tokens, each encoded on its own, weighed and set side by side."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from modules.core.errors import InputError
from modules.prompting.attention import parse_attention
from modules.prompting.chunks import EMPTY, Chunk, make_chunks
from modules.prompting.tokenizer import token_ids
from modules.prompting.words import NONE, Word, Words

MAX_CHUNKS = 1000  # of one schedule: 77,000 token positions
ROWS = 64  # chunks that go through the text encoder at once

Encoded = Tensor | tuple[Tensor, Tensor]
EncodeTokens = Callable[
    [Tensor, int], Encoded
]  # (ids (B, 77) int64, clip skip) -> (B, 77, D), or that and one vector each (B, P)


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How prompts become conditioning: A1111's settings CLIP_stop_at_last_layers, emphasis, comma_padding_backtrack.

    `emphasis`: "Original" keeps the mean of what was weighed, "No norm" does not, "Ignore" reads the brackets without
    weighing, "None" does not read them. `t5`: does Stable Diffusion 3 read T5, where it may do without?
    """

    clip_skip: int = 1
    emphasis: str = "Original"
    comma_padding_backtrack: int = 20
    negative: bool = False
    t5: bool = False


PLAIN = TextOptions()


class PromptEncoder:
    """Encodes prompts with one CLIP text encoder.

    Of an encoder that answers with a vector beside the states, the vector of a prompt's first chunk stands behind the states
    at every position: D is then its D + P.
    """

    def __init__(self, tokenizer: Tokenizer, encode_tokens: EncodeTokens) -> None:
        self._tokenizer = tokenizer
        self._encode_tokens = encode_tokens
        self._words = NONE

    @contextmanager
    def knowing(self, words: Words) -> Iterator[None]:
        """Meanwhile these words stand for vectors, whose ids the text encoder is given."""
        before, self._words = self._words, words
        try:
            yield
        finally:
            self._words = before

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text as it stands there."""
        return token_ids(self._tokenizer, text)

    def words_in(self, text: str, words: Words, options: TextOptions = PLAIN) -> list[Word]:
        """Those of the words that a prompt has, in order."""
        pieces = parse_attention(text) if options.emphasis != "None" else [(text, 1.0)]
        return [word for piece, _ in pieces for word in words.within(self.tokens(piece))]

    def chunks(self, text: str, options: TextOptions = PLAIN) -> list[Chunk]:
        """The chunks of a prompt."""
        return make_chunks(
            text,
            self._tokenizer,
            attention=options.emphasis != "None",
            backtrack=options.comma_padding_backtrack,
            words=self._words,
        )

    def encode(self, texts: Sequence[str], options: TextOptions = PLAIN) -> Tensor:
        """(len(texts), 77 n, D) float32 where n is the chunk count of the longest text; shorter ones end in empty chunks.

        What a text gives does not depend on the others.
        """
        return self._encode([[text] for text in texts], [1] * len(texts), options)

    def encode_together(self, texts: Sequence[str], counts: Sequence[int], options: TextOptions = PLAIN) -> Tensor:
        """As `encode`, for the texts of one schedule, each there `counts` times: one mean is kept for all of them.

        Raises InputError if they come to more than MAX_CHUNKS chunks.
        """
        return self._encode([texts], counts, options)

    def _encode(self, groups: Sequence[Sequence[str]], counts: Sequence[int], options: TextOptions) -> Tensor:
        chunked = [self.chunks(text, options) for group in groups for text in group]
        n = max(map(len, chunked))
        if len(groups) == 1 and n * len(chunked) > MAX_CHUNKS:
            raise InputError(
                "prompt",
                f"A prompt of this job comes to {n * len(chunked)} chunks of 75 tokens over its steps: "
                f"at most {MAX_CHUNKS} can be encoded. Make it shorter, or let less of it change from step to step.",
            )
        rows = [chunk for chunks in chunked for chunk in (*chunks, *[EMPTY] * (n - len(chunks)))]
        z, vectors = self._hidden_states([chunk.ids for chunk in rows], options.clip_skip)  # (N n, 77, D), (N n, P)
        z = z.reshape(len(chunked), n, *z.shape[1:])
        if options.emphasis in ("Original", "No norm"):
            weights = torch.tensor([chunk.weights for chunk in rows], device=z.device).view(*z.shape[:3], 1)
            if not bool((weights == 1).all()):
                weighed = z * weights
                z = _with_means_of(weighed, z, groups, counts) if options.emphasis == "Original" else weighed
        z = z.flatten(1, 2)
        if vectors is None:
            return z
        first = vectors.view(len(chunked), n, -1)[:, :1]
        return torch.cat([z, first.expand(-1, z.shape[1], -1)], dim=2)

    def _hidden_states(self, rows: Sequence[tuple[int, ...]], clip_skip: int) -> tuple[Tensor, Tensor | None]:
        """(len(rows), 77, D) and (len(rows), P) or None; equal rows are encoded once."""
        unique = {ids: i for i, ids in enumerate(dict.fromkeys(rows))}
        parts = torch.tensor(list(unique)).split(ROWS)
        encoded = [self._encode_tokens(part, clip_skip) for part in parts]
        order = [unique[ids] for ids in rows]
        z = torch.cat([one[0] if isinstance(one, tuple) else one for one in encoded])[order]
        vectors = [one[1] for one in encoded if isinstance(one, tuple)]
        return z, torch.cat(vectors)[order] if vectors else None


def _with_means_of(weighed: Tensor, z: Tensor, groups: Sequence[Sequence[str]], counts: Sequence[int]) -> Tensor:
    """`weighed` (N, n, 77, D) scaled so that the mean over each group's chunks of one number is that of `z`."""
    shares = torch.tensor(counts, dtype=z.dtype, device=z.device).view(-1, 1)
    scaled, first = [], 0
    for group in groups:
        part = slice(first, first := first + len(group))
        before, after = ((t[part].mean(dim=(2, 3)) * shares[part]).sum(dim=0) for t in (z, weighed))  # (n,)
        scaled.append(weighed[part] * (before / after).view(-1, 1, 1))
    return torch.cat(scaled)
