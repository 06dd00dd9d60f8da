"""Tokens and chunks."""

import json
from pathlib import Path

import pytest
import torch

from modules.prompting.encode import PromptEncoder
from modules.prompting.tokenizer import END, START, build_tokenizer

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "clip_tokens.json").read_text("utf-8"))
TOKENIZER = build_tokenizer()


@pytest.mark.parametrize(("text", "ids"), RECORDED, ids=[repr(text)[:20] for text, _ in RECORDED])
def test_ids_are_those_of_openai_clip(text, ids):
    assert TOKENIZER.encode(text, add_special_tokens=False).ids == ids


def echo(ids, clip_skip):
    return ids[:, :, None].float()


def test_chunks_of_75():
    encoder = PromptEncoder(TOKENIZER, echo)
    assert encoder.chunks("") == [[START] + [END] * 76]
    for words, chunks in ((74, 1), (75, 1), (76, 2), (150, 2), (151, 3)):
        found = encoder.chunks("cat " * words)
        assert [len(chunk) for chunk in found] == [77] * chunks
        assert all(chunk[0] == START and chunk[-1] == END for chunk in found)
        assert sum(token not in (START, END) for chunk in found for token in chunk) == words


def test_shorter_prompt_ends_in_an_empty_chunk():
    encoded = PromptEncoder(TOKENIZER, echo).encode(["cat " * 80, "cat"])
    assert encoded.shape == (2, 154, 1)
    assert torch.equal(encoded[1, 77:, 0], torch.tensor([START] + [END] * 76).float())
