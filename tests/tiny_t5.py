"""A tiny T5 of seeded random weights, and a tokenizer of sentencepiece's kind for it."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import Unigram
from torch import Tensor
from transformers.models.t5.configuration_t5 import T5Config
from transformers.models.t5.modeling_t5 import T5EncoderModel
from transformers.models.umt5.configuration_umt5 import UMT5Config
from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

LETTERS = "abcdefghijklmnopqrstuvwxyz,.'()[]:0123456789"
PIECES = [
    ("<pad>", 0.0),
    ("</s>", 0.0),
    ("<unk>", 0.0),
    ("▁", -2.0),
    *((letter, -5.0) for letter in LETTERS),
    *((piece, -3.5 - number / 10) for number, piece in enumerate(("▁red", "▁star", "▁a", "ar", "▁house", "st"))),
]
SIZES = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}


def tiny_t5(seed: int = 0, *, width: int = 32, pile: bool = False) -> Any:
    """transformers' encoder; `pile`: every layer has position biases of its own, as Pile-T5."""
    torch.manual_seed(seed)
    sizes = {**SIZES, "d_model": width, "feed_forward_proj": "gated-gelu"}
    text = UMT5EncoderModel(UMT5Config(**sizes)) if pile else T5EncoderModel(T5Config(**sizes))
    for parameter in text.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return text.eval()


def t5_tensors(text: Any) -> dict[str, Tensor]:
    """Its weights as files hold them."""
    return {name: tensor.detach().clone() for name, tensor in text.named_parameters()}


def tiny_tokenizer() -> Tokenizer:
    """It ends texts with </s>, as T5's."""
    tokenizer = Tokenizer(Unigram(PIECES, 2, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single=["$A", "</s>"], special_tokens=[("</s>", 1)])
    return tokenizer


def write_tokenizer(folder: Path) -> Path:
    """A folder with tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return folder
