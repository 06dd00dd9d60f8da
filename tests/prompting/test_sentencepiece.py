"""sentencepiece's files: read as the tokenizers they describe."""

import struct

import pytest

from modules.core.errors import ModelFileError
from modules.prompting.sentencepiece import read_sentencepiece
from modules.prompting.tokenizer_files import read_tokenizer
from tests.tiny_t5 import PIECES, tiny_tokenizer


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def model(pieces, *, kind, unknown, byte_fallback=False):
    parts = []
    for text, score, piece_kind in pieces:
        score = varint(2 << 3 | 5) + struct.pack("<f", score)
        parts.append(field(1, field(1, text.encode()) + score + field(3, piece_kind)))
    trained = field(3, kind) + field(35, int(byte_fallback)) + field(40, unknown) + field(4, 32000)
    return b"".join(parts) + field(2, trained) + field(3, field(1, b"identity"))


def test_unigram(tmp_path):
    kinds = {"<pad>": 3, "</s>": 3, "<unk>": 2}
    pieces = [(text, score, kinds.get(text, 1)) for text, score in PIECES]
    (tmp_path / "spiece.model").write_bytes(model(pieces, kind=1, unknown=2))
    ours, theirs = read_tokenizer(tmp_path), tiny_tokenizer()
    for text in ("a red star", "  the house,  a star. ", "über", ""):
        assert ours.encode(text).ids == theirs.encode(text, add_special_tokens=False).ids, text
    assert ours.token_to_id("</s>") == 1
    assert ours.encode("red</s>").ids == [*ours.encode("red").ids, 1]


def test_byte_pairs(tmp_path):
    texts = ["<unk>", "<s>", "</s>"]
    kinds = {"<unk>": 2, "<s>": 3, "</s>": 3}
    pieces = [(text, 0.0, kinds[text]) for text in texts]
    pieces += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    pieces += [(text, -float(i), 1) for i, text in enumerate(("st", "ar", "▁st", "star", "▁star"))]
    pieces += [(text, -100.0, 1) for text in "▁star"]
    (tmp_path / "tokenizer.model").write_bytes(model(pieces, kind=2, unknown=0, byte_fallback=True))
    tokenizer = read_sentencepiece(tmp_path / "tokenizer.model")
    assert tokenizer.encode("star tar").tokens == ["▁star", "▁", "t", "ar"]
    assert tokenizer.encode("ü").tokens == ["▁", "<0xC3>", "<0xBC>"]


@pytest.mark.parametrize("data", [b"", b"\xff" * 40, b"<html>", field(1, b"\x0a\xff"), field(2, field(3, 1))])
def test_damage_is_one_sentence(tmp_path, data):
    (tmp_path / "spiece.model").write_bytes(data)
    with pytest.raises(ModelFileError, match=r'"spiece.model" in ".*" is no tokenizer of sentencepiece \(.+\)\. Down'):
        read_sentencepiece(tmp_path / "spiece.model")


def test_other_kinds_are_named(tmp_path):
    (tmp_path / "spiece.model").write_bytes(model([("a", 0.0, 1)], kind=3, unknown=0))
    with pytest.raises(ModelFileError, match="it is of kind 3, neither unigram nor BPE"):
        read_sentencepiece(tmp_path / "spiece.model")
