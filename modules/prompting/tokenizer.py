"""CLIP's byte-pair tokenizer, from the vocabulary inside the open-clip-torch package: nothing is fetched."""

import gzip
import importlib.util
import re
from functools import lru_cache
from pathlib import Path

import ftfy
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from modules.core.errors import ModelFileError

START = 49406
END = 49407
COMMA = 267
_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""

_SOUND = re.compile(r"[ -%'-~\t\n\r]*")  # text without anything that ftfy mends


def token_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text, after damaged and full-width characters were mended, as OpenAI's CLIP and A1111 do."""
    sound = text if _SOUND.fullmatch(text) else ftfy.fix_text(text)
    return tokenizer.encode(sound, add_special_tokens=False).ids


@lru_cache(maxsize=1)
def build_tokenizer() -> Tokenizer:
    """A tokenizer without start, end or padding tokens; ids as OpenAI's CLIP. One for all models: nobody changes it."""
    merges = _merges()
    alphabet = _byte_alphabet()
    vocabulary = [
        *alphabet,
        *(c + "</w>" for c in alphabet),
        *(a + b for a, b in merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    ids = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(BPE(vocab=ids, merges=merges, end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


def _merges() -> list[tuple[str, str]]:
    """The 48894 merges; the package is found, not imported, for importing it takes seconds."""
    package = importlib.util.find_spec("open_clip")
    folder = Path(package.origin).parent if package and package.origin else None
    if folder is None:
        raise ModelFileError(
            "The package open-clip-torch, which holds CLIP's vocabulary, is missing. Run launch.sh to install it."
        )
    lines = gzip.decompress((folder / "bpe_simple_vocab_16e6.txt.gz").read_bytes()).decode("utf-8").split("\n")
    pairs = (line.split() for line in lines[1 : 49152 - 256 - 2 + 1])
    return [(a, b) for a, b in pairs]


def _byte_alphabet() -> list[str]:
    """A printable character for each of the 256 bytes, in CLIP's order: printable bytes as themselves first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in set(printable)]
    return [*map(chr, printable), *(chr(256 + i) for i in range(len(others)))]
