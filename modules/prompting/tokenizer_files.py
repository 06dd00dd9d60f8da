"""Tokenizers of text encoders other than CLIP, from their files."""

from pathlib import Path

from tokenizers import Tokenizer

from modules.core.errors import ModelFileError
from modules.prompting.sentencepiece import read_sentencepiece

FAST = "tokenizer.json"
FILES = ("spiece.model", "tokenizer.model")  # sentencepiece's, under the names they are published with


def holds_tokenizer(folder: Path) -> bool:
    """Is there a tokenizer in that folder?"""
    return any((folder / name).is_file() for name in (FAST, *FILES))


def read_tokenizer(folder: Path | None, kind: str = "t5xxl") -> Tokenizer:
    """The tokenizer in a folder: tokenizer.json, or sentencepiece's file; raises ModelFileError with one sentence."""
    if folder is None:
        raise ModelFileError(f"The text encoder {kind} has no tokenizer. Put {FAST} into models/tokenizers/{kind}/.")
    fast = folder / FAST
    if fast.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(fast))
        except Exception as error:  # the tokenizers package raises the plain class
            raise ModelFileError(f'"{fast.name}" of {kind} cannot be read: {error}. Download it again.') from error
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer
    for name in FILES:
        if (folder / name).is_file():
            return read_sentencepiece(folder / name)
    raise ModelFileError(
        f'"{folder.name}" holds no tokenizer of {kind}: neither {FAST} nor {" nor ".join(FILES)}. Put one there.'
    )
