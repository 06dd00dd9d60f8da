"""T5's encoder (arXiv:1910.10683) as text encoders of diffusion models: T5 v1.1 XXL, and Pile-T5 XL, each of whose layers has position biases of its own.

Prompts have attention weights (brackets), which multiply the states of their tokens as Forge and A1111 do, and may be of any
length up to MAX_TOKENS: T5's positions are relative. BREAK ends a section, which is encoded and filled up on its own, as in Forge.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from modules.core.errors import InputError, ModelFileError
from modules.devices.choice import Compute
from modules.families.assembly import empty_weights, filled
from modules.families.clip_prompts import PLAIN, TextOptions
from modules.families.packing import pack, padded
from modules.prompting.attention import BREAK, parse_attention
from modules.prompting.chunks import bounded
from modules.prompting.tokenizer_files import read_tokenizer

MAX_TOKENS = 2048  # of one prompt; attention takes memory by their square
END = "</s>"
PADDING = "<pad>"

Encode = Callable[[Tensor, Tensor | None], Tensor]  # ids (B, T) and the mask (B, T) of what is attended -> (B, T, D)


@dataclass(frozen=True, kw_only=True)
class Filling:
    """How texts are filled up with padding, which the network sees: to `least` positions, and by `extra` ones at least.

    `attended`: T5 itself sees it as if it were text. `blank`: its states are zeros.
    """

    least: int = 0
    extra: int = 0
    attended: bool = False
    blank: bool = False


class T5Prompts:
    """Reads prompts with one T5; as Prompts for networks that read nothing else. What a text gives does not depend on the others."""

    def __init__(self, tokenizer: Tokenizer, encode: Encode, filling: Filling) -> None:
        self._tokenizer = tokenizer
        self._encode = encode
        self._filling = filling
        end = tokenizer.token_to_id(END)
        if end is None:
            raise ModelFileError(
                f'The tokenizer of T5 has no "{END}": it is of another text encoder. Replace it by T5\'s.'
            )
        self._end: int = end
        self._padding: int = end if (padding := tokenizer.token_to_id(PADDING)) is None else padding

    def read(self, texts: Sequence[str], options: TextOptions = PLAIN) -> tuple[Tensor, Tensor]:
        """States (B, T, D), float32, and the mask (B, T) of the positions that count.

        The last position never counts, so that what is held at its last position to reach another length stays as it was.
        """
        known: dict[str, Tensor] = {}
        for text in texts:
            if text not in known:
                known[text] = torch.cat([self._section(tokens, options) for tokens in self._sections(text, options)])
        states, mask = padded([known[text] for text in texts])
        return nn.functional.pad(states, (0, 0, 0, 1)), nn.functional.pad(mask, (0, 1))

    def read_exactly(self, texts: Sequence[str], length: int, options: TextOptions = PLAIN) -> Tensor:
        """States (B, length, D), float32: texts are cut off or filled up, with no regard to BREAK."""
        known: dict[str, Tensor] = {}
        for text in texts:
            if text not in known:
                sections = self._sections(text, options)
                tokens = [*(token for section in sections for token in section[:-1]), (self._end, 1.0)][:length]
                known[text] = self._states(tokens, length - len(tokens), options)
        return torch.stack([known[text] for text in texts])

    def encode(self, texts: Sequence[str], options: TextOptions = PLAIN) -> Tensor:
        """As Prompts': (B, T, D + 1), packed."""
        states, mask = self.read(texts, options)
        return pack(states, mask=mask)

    def encode_together(self, texts: Sequence[str], counts: Sequence[int], options: TextOptions = PLAIN) -> Tensor:
        """As `encode`."""
        return self.encode(texts, options)

    def _sections(self, text: str, options: TextOptions) -> list[list[tuple[int, float]]]:
        """The tokens of a text and their weights, each section with its end token; raises InputError for too many."""
        sections: list[list[tuple[int, float]]] = [[]]
        for piece, weight in parse_attention(text) if options.emphasis != "None" else [(text, 1.0)]:
            if piece == BREAK and weight == -1:
                sections.append([])
            else:
                ids = self._tokenizer.encode(piece, add_special_tokens=False).ids
                sections[-1] += [(token, bounded(weight)) for token in ids]
        count = sum(self._length(len(section) + 1) for section in sections)
        if count > MAX_TOKENS:
            field = "negative_prompt" if options.negative else "prompt"
            raise InputError(
                field,
                f"The {field} comes to {count} tokens of T5: at most {MAX_TOKENS} can be encoded. Make it shorter.",
            )
        return [[*section, (self._end, 1.0)] for section in sections]

    def _length(self, tokens: int) -> int:
        return max(self._filling.least, tokens + self._filling.extra)

    def _section(self, tokens: list[tuple[int, float]], options: TextOptions) -> Tensor:
        """(T, D) of one section, filled up."""
        return self._states(tokens, self._length(len(tokens)) - len(tokens), options)

    def _states(self, tokens: list[tuple[int, float]], rest: int, options: TextOptions) -> Tensor:
        """(T + rest, D) of the tokens and so much padding."""
        ids = torch.tensor([[*(token for token, _ in tokens), *[self._padding] * rest]])
        mask = torch.arange(ids.shape[1])[None] < len(tokens)
        attended = None if self._filling.attended or not rest else mask
        states = self._encode(ids, attended)[0].float()
        if self._filling.blank:
            states = states * mask[0, :, None].to(states)
        weights = torch.tensor([*(weight for _, weight in tokens), *[1.0] * rest], device=states.device)[:, None]
        if options.emphasis not in ("Original", "No norm") or bool((weights == 1).all()):
            return states
        weighed = states * weights
        if options.emphasis == "No norm" or not (after := weighed.mean()):
            return weighed
        return weighed * (states.mean() / after)


class T5Encoder:
    """A T5 as T5Prompts ask it."""

    def __init__(self, text: Any, compute: Compute) -> None:
        self._text = text
        self._device = compute.device
        self._vocabulary: int = text.config.vocab_size

    def __call__(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        """As Encode."""
        if int(ids.max()) >= self._vocabulary:
            raise ModelFileError(
                f"The tokenizer knows the token {int(ids.max())}, the T5 text encoder {self._vocabulary} ones: "
                "they are not of one model. Replace one of them."
            )
        attended = None if mask is None else mask.to(self._device, torch.long)
        return self._text(input_ids=ids.to(self._device), attention_mask=attended).last_hidden_state


def t5_prompts(
    tensors: Mapping[str, Tensor], tokenizer: Path | None, compute: Compute, filling: Filling, *, kind: str = "t5xxl"
) -> T5Prompts:
    """The encoder of those tensors with the tokenizer in that folder; raises ModelFileError."""
    return T5Prompts(read_tokenizer(tokenizer, kind), T5Encoder(build_t5(tensors, compute), compute), filling)


def build_t5(tensors: Mapping[str, Tensor], compute: Compute) -> nn.Module:
    """transformers' T5 encoder of the shape the tensors have, under transformers' own names.

    In float16 the feed-forward layers' outputs, which overflow it, are of float32. Raises ModelFileError.
    """
    from transformers.models.t5.configuration_t5 import T5Config
    from transformers.models.t5.modeling_t5 import T5EncoderModel
    from transformers.models.umt5.configuration_umt5 import UMT5Config
    from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

    weights = dict(tensors)
    names = ("shared.weight", "encoder.embed_tokens.weight")  # of one table
    for one, other in (names, names[::-1]):
        if one in weights:
            weights.setdefault(other, weights[one])
    sizes = _sizes(weights)
    own_biases = _ATTENTION.format(1, "relative_attention_bias") in weights
    with empty_weights():
        text: Any = UMT5EncoderModel(UMT5Config(**sizes)) if own_biases else T5EncoderModel(T5Config(**sizes))
    filled(text, weights, compute.home, compute.dtype)
    text.set_input_embeddings(text.shared)
    if compute.dtype is torch.float16:
        for name, module in text.named_modules():
            if name.endswith(".wo"):
                module.float()
    return text


_ATTENTION = "encoder.block.{}.layer.0.SelfAttention.{}.weight"
_HIDDEN = "encoder.block.0.layer.1.DenseReluDense.{}.weight"


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of transformers' configurations; raises ModelFileError naming a tensor that is needed to know them."""
    gated = _HIDDEN.format("wi_0") in weights
    bias, query = _ATTENTION.format(0, "relative_attention_bias"), _ATTENTION.format(0, "q")
    hidden = _HIDDEN.format("wi_0" if gated else "wi")
    for name in ("shared.weight", bias, query, hidden):
        if name not in weights:
            raise ModelFileError(
                f"The T5 text encoder lacks the weights {name}; it is damaged or no T5. Choose another."
            )
    (vocabulary, width), (buckets, heads) = weights["shared.weight"].shape, weights[bias].shape
    return {
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": weights[query].shape[0] // heads,
        "d_ff": weights[hidden].shape[0],
        "num_layers": 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.block.")),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu" if gated else "relu",
    }
