"""Text to conditioning: chunks of 75 tokens, each encoded on its own, side by side."""

from collections.abc import Callable, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from modules.prompting.tokenizer import END, START

CHUNK = 75

EncodeTokens = Callable[[Tensor, int], Tensor]  # (ids (B, 77) int64, clip skip) -> (B, 77, D)


class PromptEncoder:
    """Encodes prompts with one CLIP text encoder."""

    def __init__(self, tokenizer: Tokenizer, encode_tokens: EncodeTokens) -> None:
        self._tokenizer = tokenizer
        self._encode_tokens = encode_tokens

    def chunks(self, text: str) -> list[list[int]]:
        """Token ids in chunks of 77: start, 75 tokens, end; the last one filled with end tokens."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        parts = [ids[i : i + CHUNK] for i in range(0, len(ids), CHUNK)] or [[]]
        return [[START, *part, *[END] * (CHUNK + 1 - len(part))] for part in parts]

    def encode(self, texts: Sequence[str], clip_skip: int = 1) -> Tensor:
        """(len(texts), 77 n, D) where n is the chunk count of the longest text; shorter ones end in empty chunks."""
        chunked = [self.chunks(text) for text in texts]
        n = max(map(len, chunked))
        empty = [START, *[END] * (CHUNK + 1)]
        rows = [row for chunks in chunked for row in (*chunks, *[empty] * (n - len(chunks)))]
        encoded = self._encode_tokens(torch.tensor(rows), clip_skip)  # (len(texts) * n, 77, D)
        return encoded.reshape(len(texts), n * encoded.shape[1], encoded.shape[2])
