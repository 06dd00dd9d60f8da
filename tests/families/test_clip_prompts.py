"""Tokens, chunks, weights and conditioning."""

import json
from pathlib import Path

import pytest
import torch

from modules.core.errors import InputError
from modules.families.clip_prompts import MAX_CHUNKS, PromptEncoder, TextOptions
from modules.prompting.chunks import EMPTY
from modules.prompting.tokenizer import COMMA, END, START, build_tokenizer, token_ids

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "clip_tokens.json").read_text("utf-8"))
TOKENIZER = build_tokenizer()


def features(ids, clip_skip):
    """Three numbers for each token that depend on it, on its place and on the clip skip."""
    place = torch.arange(ids.shape[1])
    x = ids.float() / 1000 + place / 10 + clip_skip
    return torch.stack([x.sin() + 0.5, x.cos(), x.sin() * x.cos()], dim=-1)


ENCODER = PromptEncoder(TOKENIZER, features)


def weights(text, **options):
    return [chunk.weights for chunk in ENCODER.chunks(text, TextOptions(**options))]


def counts(text, **options):
    """How many tokens of the text each chunk holds."""
    return [sum(token not in (START, END) for token in c.ids) for c in ENCODER.chunks(text, TextOptions(**options))]


@pytest.mark.parametrize(("text", "ids"), RECORDED, ids=[repr(text)[:20] for text, _ in RECORDED])
def test_ids_are_those_of_openai_clip(text, ids):
    assert token_ids(TOKENIZER, text) == ids


def test_damaged_and_full_width_text_is_mended():
    assert token_ids(TOKENIZER, "ｆｕｌｌ cafÃ©") == token_ids(TOKENIZER, "full café")


def test_chunks_of_75():
    assert ENCODER.chunks("") == [EMPTY]
    assert EMPTY.ids == (START, *[END] * 76)
    for words, chunks in ((74, [74]), (75, [75]), (76, [75, 1]), (150, [75, 75]), (151, [75, 75, 1])):
        found = ENCODER.chunks("cat " * words)
        assert counts("cat " * words) == chunks
        assert all(len(chunk.ids) == len(chunk.weights) == 77 for chunk in found)
        assert all(chunk.ids[0] == START and chunk.ids[-1] == END for chunk in found)


def test_what_follows_the_last_comma_moves_on():
    text = "cat " * 60 + ", " + "dog " * 30
    assert counts(text) == [61, 30]
    assert counts(text, comma_padding_backtrack=15) == [61, 30]
    assert counts(text, comma_padding_backtrack=14) == [75, 16]
    assert counts(text, comma_padding_backtrack=0) == [75, 16]
    assert counts("cat " * 75 + ", dog") == [75, 2]
    assert ENCODER.chunks("cat " * 75 + ", dog")[1].ids[1] == COMMA


def test_weights_move_with_their_tokens():
    moved = weights("cat " * 60 + ", (" + "dog " * 30 + ":1.5)")
    assert moved[0] == (1.0,) * 77
    assert moved[1] == (1.0, *[1.5] * 30, *[1.0] * 46)


def test_break_ends_a_chunk():
    assert counts("cat BREAK dog cow") == [1, 2]
    assert counts("BREAK") == [0]
    assert counts("cat BREAK BREAK dog") == [1, 0, 1]
    assert counts("(cat BREAK dog:1.2)") == [3]  # weighed, it is a word
    assert counts("cat BREAK dog", emphasis="None") == [3]


def test_weights_stay_what_float32_can_hold():
    assert weights("(" * 3000 + "a" + ")" * 3000)[0][1] == 1e30
    encoded = ENCODER.encode(["(" * 3000 + "a" + ")" * 3000])
    assert encoded.isfinite().all()


def test_shorter_prompt_ends_in_an_empty_chunk():
    encoded = ENCODER.encode(["cat " * 80, "cat"])
    assert encoded.shape == (2, 154, 3)
    assert torch.equal(encoded[1:, 77:], ENCODER.encode([""]))


def test_emphasis_modes():
    text = "a (red:1.5) [fox]"
    plain = ENCODER.encode(["a red fox"])
    w = torch.tensor(weights(text)).view(1, 77, 1)
    assert [round(x, 3) for x in w.flatten()[:5].tolist()] == [1.0, 1.0, 1.5, 0.909, 1.0]
    by_mode = {
        mode: ENCODER.encode([text], TextOptions(emphasis=mode)) for mode in ("Original", "No norm", "Ignore", "None")
    }
    torch.testing.assert_close(by_mode["No norm"], plain * w)
    torch.testing.assert_close(by_mode["Original"], plain * w * (plain.mean() / (plain * w).mean()))
    assert torch.equal(by_mode["Ignore"], plain)
    assert torch.equal(
        by_mode["None"], features(torch.tensor([ENCODER.chunks(text, TextOptions(emphasis="None"))[0].ids]), 1)
    )


def test_text_does_not_depend_on_the_others_but_those_of_its_schedule():
    texts = ["a (red:1.5) fox", "a [[[[blue]]]] wolf"]
    apart = ENCODER.encode(texts)
    torch.testing.assert_close(apart[1:], ENCODER.encode(texts[1:]))
    together = ENCODER.encode_together(texts, [2, 1])
    z = ENCODER.encode(texts, TextOptions(emphasis="Ignore"))
    weighed = ENCODER.encode(texts, TextOptions(emphasis="No norm"))
    three = [0, 0, 1]
    torch.testing.assert_close(together, weighed * (z[three].mean() / weighed[three].mean()))
    assert not torch.allclose(together, apart)


def test_clip_skip_reaches_the_text_encoder():
    assert torch.equal(
        ENCODER.encode(["a"], TextOptions(clip_skip=2)), features(torch.tensor([ENCODER.chunks("a")[0].ids]), 2)
    )


def test_too_many_chunks_are_refused():
    with pytest.raises(InputError, match=f"{MAX_CHUNKS + 1} chunks"):
        ENCODER.encode_together(["BREAK a " * MAX_CHUNKS], [1])
