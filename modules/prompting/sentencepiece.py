"""Tokenizers in sentencepiece's format (spiece.model, tokenizer.model), read without that package.

The file is a protocol buffer: pieces with scores and kinds, how it was trained, how text is normalised.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE, Unigram

from modules.core.errors import ModelFileError

MAX_BYTES = 64 * 2**20  # the largest known, Gemma's, is 4 MB
UNIGRAM, BYTE_PAIRS = 1, 2  # sentencepiece_model.proto: TrainerSpec.ModelType
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # SentencePiece.Type
SPACE = "▁"

Field = tuple[int, int | bytes]  # its number; a varint, or the bytes of all other kinds


@dataclass(frozen=True, kw_only=True)
class _Pieces:
    """What the file says."""

    pieces: tuple[tuple[str, float, int], ...]  # text, score, kind
    kind: int
    unknown: int
    byte_fallback: bool
    characters: bytes
    prefix: bool


def read_sentencepiece(path: Path) -> Tokenizer:
    """Its tokenizer, which adds no special tokens; raises ModelFileError with one sentence."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("too large")
        found = _read(path.read_bytes())
        tokenizer = _unigram(found) if found.kind == UNIGRAM else _byte_pairs(found)
    except (OSError, ValueError, IndexError, struct.error, TypeError) as error:
        raise ModelFileError(
            f'"{path.name}" in "{path.parent.name}" is no tokenizer of sentencepiece ({error}). Download it again.'
        ) from error
    marks = [
        AddedToken(text, normalized=False, special=kind == CONTROL)
        for text, _, kind in found.pieces
        if kind in (CONTROL, USER_DEFINED)
    ]
    tokenizer.add_tokens(marks)
    return tokenizer


def _unigram(found: _Pieces) -> Tokenizer:
    tokenizer = Tokenizer(Unigram([(text, score) for text, score, _ in found.pieces], found.unknown, False))
    if found.characters:
        tokenizer.normalizer = normalizers.Precompiled(found.characters)
    scheme = "always" if found.prefix else "never"
    parts = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=scheme)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    return tokenizer


def _byte_pairs(found: _Pieces) -> Tokenizer:
    if found.kind != BYTE_PAIRS:
        raise ValueError(f"it is of kind {found.kind}, neither unigram nor BPE")
    ids = {text: number for number, (text, _, _) in enumerate(found.pieces)}
    scores = {text: score for text, score, kind in found.pieces if kind == NORMAL}
    unknown = found.pieces[found.unknown][0]
    model = BPE(ids, _merges(scores, ids), unk_token=unknown, fuse_unk=True, byte_fallback=found.byte_fallback)
    tokenizer = Tokenizer(model)
    steps = [normalizers.Prepend(SPACE)] if found.prefix else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    return tokenizer


def _merges(scores: Mapping[str, float], ids: Mapping[str, int]) -> list[tuple[str, str]]:
    """Every pair of pieces that makes a piece, the best made first: sentencepiece joins what makes the highest score."""
    return [
        (text[:cut], text[cut:])
        for text in sorted(scores, key=lambda text: -scores[text])
        for cut in range(1, len(text))
        if text[:cut] in ids and text[cut:] in ids
    ]


def _read(data: bytes) -> _Pieces:
    pieces = []
    trained: dict[int, int | bytes] = {}
    normalised: dict[int, int | bytes] = {}
    for number, value in _fields(data):
        if number == 1:
            piece = dict(_fields(_bytes(value)))
            score = struct.unpack("<f", _bytes(piece.get(2, b"\0\0\0\0")))[0]
            pieces.append((_bytes(piece.get(1, b"")).decode("utf-8"), score, int(piece.get(3, NORMAL))))
        elif number == 2:
            trained = dict(_fields(_bytes(value)))
        elif number == 3:
            normalised = dict(_fields(_bytes(value)))
    if not pieces:
        raise ValueError("it holds no pieces")
    return _Pieces(
        pieces=tuple(pieces),
        kind=int(trained.get(3, UNIGRAM)),
        unknown=int(trained.get(40, 0)),
        byte_fallback=bool(trained.get(35, False)),
        characters=_bytes(normalised.get(2, b"")),
        prefix=bool(normalised.get(3, True)),
    )


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("it is damaged")
    return value


def _fields(data: bytes) -> Iterator[Field]:
    """The fields of a protocol buffer's message (protobuf.dev/programming-guides/encoding)."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            size, at = _varint(data, at)
        if size is None or at + size > len(data):
            raise ValueError("it is damaged")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError("it is damaged")
