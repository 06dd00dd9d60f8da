"""Counting tokens as the encoder does."""

import pytest

from modules.families.clip_prompts import PromptEncoder, TextOptions
from modules.library.readers import Reader, reader_of
from modules.prompting.counting import Count, count_clip, count_whole, texts_of
from modules.prompting.prompt import read_negative, read_prompt
from modules.prompting.schedule import Timeline
from modules.prompting.tokenizer import build_tokenizer, token_ids
from modules.prompting.words import Words
from tests.tiny_t5 import tiny_tokenizer

STEPS = Timeline(steps=20)


def counted(text: str, **options) -> tuple[int, int]:
    found = count_clip(texts_of(read_prompt(text, STEPS)), **options)
    return found.tokens, found.room


@pytest.mark.parametrize(
    ("text", "tokens", "room"),
    [
        ("", 0, 75),
        ("a red cat", 3, 75),
        ("a (red:1.2) cat <lora:some long name:0.8>", 3, 75),
        ("cat BREAK dog", 76, 150),
        ("cat " * 75, 75, 75),
        ("cat " * 76, 76, 150),
        ("a cat AND a very large dog", 4, 75),
        ("a [cat:very big dog:0.5]", 4, 75),
        ("[a|b b|c c c]", 3, 75),
    ],
)
def test_counts_are_a1111s(text, tokens, room):
    assert counted(text) == (tokens, room)


def test_it_is_what_the_encoder_reads():
    encoder = PromptEncoder(build_tokenizer(), lambda ids, skip: ids.float()[..., None])
    text = "so " + "a big house, " * 22 + "and (something:1.3) without any comma that goes on " * 3
    chunks = encoder.chunks(text, TextOptions())
    assert counted(text)[1] == 75 * len(chunks) == 150
    assert counted(text, backtrack=0)[0] < counted(text)[0]  # the word wrap leaves a gap in the first chunk


def test_words_of_several_vectors_count_as_those():
    tokenizer = build_tokenizer()
    words = Words([("starter-mascot", tuple(token_ids(tokenizer, "starter-mascot")), 8)])
    assert counted("a starter-mascot", words=words) == (9, 75)
    assert counted("(a", attention=False) == (2, 75)


def test_a_negative_prompts_tags_are_text():
    text = "blur <lora:x:1>"
    assert count_clip(texts_of(read_negative(text, STEPS))).tokens > counted(text)[0] == 1


def test_readers_without_chunks():
    tokenizer = tiny_tokenizer()
    plain = len(tokenizer.encode("a red cat", add_special_tokens=False).ids)
    told = count_whole(["a (red) cat", "x"], tokenizer, 512, lower=False, brackets=False)
    assert told.tokens > plain
    assert told.room == 512
    weighed = count_whole(["(a red cat:1.2)"], tokenizer, 512, lower=False, brackets=True)
    assert weighed == Count(tokens=plain, room=512)


@pytest.mark.parametrize(
    ("names", "reader"),
    [
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, Reader()),
        ({"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (1, 1)}, Reader()),
        ({"double_blocks.0.img_attn.qkv.weight": (1, 1)}, Reader(kind="t5xxl", most=512)),
        ({"distilled_guidance_layer.norms.0.scale": (1,), "double_blocks.0.x": (1,)}, Reader(kind="t5xxl", most=512)),
        ({"double_stream_modulation_img.lin.weight": (1, 1), "txt_in.weight": (1, 12288)}, Reader(kind="qwen3_8b", most=512)),
        ({"x.noise_refiner.0.attention.qkv.weight": (1, 1)}, Reader(kind="gemma2_2b", most=256)),
        ({"noise_refiner.0.a": (1,), "cap_pad_token": (1, 1)}, Reader(kind="qwen3_4b", most=512)),
    ],
)  # fmt: skip
def test_who_reads(names, reader):
    assert reader_of(names) == reader
