"""The prompt language: attention, editing, alternation, composition, tags; and text that was never meant as such."""

import random
import time

import pytest

from modules.prompting.attention import EXACT_DEPTH, parse_attention
from modules.prompting.compose import split_composed
from modules.prompting.prompt import read_negative, read_prompt
from modules.prompting.schedule import Span, Timeline, schedule
from modules.prompting.tags import Tag, take_tags

TEN = Timeline(steps=10)


def spans(text, timeline=TEN):
    return [(span.end, span.text) for span in schedule(text, timeline)]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a (b) c", [("a ", 1.0), ("b", 1.1), (" c", 1.0)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1.1 * (1 / 1.1)), (" c", 1 / 1.1)]),  # they may cross
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),  # no number: text
        ("(a:.)", [("a:.", 1.1)]),
        ("a:1.2)", [("a:1.2)", 1.0)]),
        ("a) b]", [("a) b]", 1.0)]),
        ("[a:1.2)", [("a:1.2)", 1 / 1.1)]),
        ("\\", [("", 1.0)]),
        ("\\a", [("a", 1.0)]),
        ("(:1.3)", [("", 1.0)]),
        ("(a:0) BREAK (b:-1)", [("a", 0.0), ("", 1.0), ("BREAK", -1), ("", 1.0), ("b", -1.0)]),
        ("BREAKFAST", [("BREAKFAST", 1.0)]),
    ],
)
def test_attention(text, pieces):
    assert parse_attention(text) == pieces


def test_deep_attention_differs_in_the_last_digits_only():
    for depth in (EXACT_DEPTH, EXACT_DEPTH + 1, 2 * EXACT_DEPTH):
        text = "".join(f"({i}" for i in range(depth)) + "".join(f":1.{i % 9 + 1})" for i in range(depth))
        weights = [1.0] * depth
        for closed in range(depth):  # as A1111: every closing multiplies what is inside
            for i in range(depth - 1 - closed, depth):
                weights[i] *= float(f"1.{closed % 9 + 1}")
        found = parse_attention(text)
        assert [piece for piece, _ in found] == [str(i) for i in range(depth)]
        assert [weight for _, weight in found] == pytest.approx(weights, rel=1e-12)
        if depth == EXACT_DEPTH:
            assert [weight for _, weight in found] == weights


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a:b:3]", [(3, "a"), (10, "b")]),
        ("[a:3]", [(3, ""), (10, "a")]),
        ("[a::3]", [(3, "a"), (10, "")]),
        ("[[a:b:2]:c:5]", [(2, "a"), (5, "b"), (10, "c")]),
        ("([a:b:3]:1.2)", [(3, "(a:1.2)"), (10, "(b:1.2)")]),
        ("([a:b:3]", [(3, "(a"), (10, "(b")]),
        ("[a:b:3] )", [(3, "a )"), (10, "b )")]),
        ("[[a:b:3]", [(3, "[a"), (10, "[b")]),
        ("[a:b:1e1]", [(10, "a")]),
        ("[a:b:1e999]", [(10, "a")]),
        ("[a:b:-1e999]", [(10, "b")]),
        ("[a:b:1e-1]", [(10, "b")]),  # without a point it is a step
        ("[a:b:\n.5 ]", [(5, "a"), (10, "b")]),
        ("[x (a:b:c) [d:e:3]:y:5]", [(3, "[x (a:b:c) d:y:5]"), (10, "[x (a:b:c) e:y:5]")]),
        # each of these is text, the brackets of another kind beside it are not
        ("[a ) b:c:3]", [(10, "[a ) b:c:3]")]),
        ("[a:b:c:3]", [(10, "[a:b:c:3]")]),
        ("[a:b:3 steps]", [(10, "[a:b:3 steps]")]),
        ("[a:b:] [c:3]", [(3, "[a:b:] "), (10, "[a:b:] c")]),
        # a bar outside brackets or a backslash without a character makes all of it text
        ("a|b [c:d:3]", [(10, "a|b [c:d:3]")]),
        ("[a|b:c] [c:d:3]", [(10, "[a|b:c] [c:d:3]")]),
        ("[c:d:3]\\", [(10, "[c:d:3]\\")]),
        ("\\|[c:d:3]", [(3, "\\|c"), (10, "\\|d")]),
    ],
)
def test_schedule(text, expected):
    assert spans(text) == expected


def test_alternation_goes_on_where_it_is_not_seen():
    assert spans("[a|[b|c]|]", Timeline(steps=6)) == [(1, "a"), (2, "c"), (3, ""), (4, "a"), (5, "b"), (6, "")]


def test_hires_pass_counts_on():
    hires = Timeline(steps=10, first_pass=20)
    assert spans("[a:b:25]", hires) == spans("[a:b:1.5]", hires) == [(5, "a"), (10, "b")]
    assert spans("[a:b:20]", hires) == spans("[a:b:0.9]", hires) == [(10, "b")]
    old = Timeline(steps=10, first_pass=20, old=True)
    assert spans("[a:b:0.5]", old) == spans("[a:b:5]", old) == spans("[a:b:5.5]", old) == [(5, "a"), (10, "b")]


def test_composition():
    assert split_composed("a AND b :0.5 AND c:-1.") == (("a", 1.0), (" b", 0.5), (" c", -1.0))
    assert split_composed("SAND AND") == (("SAND", 1.0), ("", 1.0))
    assert split_composed("lens 4:3 ") == (("lens 4", 3.0),)  # as in A1111


def test_tags():
    text, tags = take_tags("a <lora:x:0.5:te=1:unet=0.3:a=b=c> b <hypernet:h>< lora:y><lora:><lora:z")
    assert text == "a  b < lora:y><lora:><lora:z"
    assert tags == (
        Tag(kind="lora", arguments=("x", "0.5", "a=b=c"), named=(("te", "1"), ("unet", "0.3"))),
        Tag(kind="hypernet", arguments=("h",)),
    )


def test_prompt_and_negative_prompt():
    prompt = read_prompt("[a:b:3] AND c :2<lora:x:1>", TEN)
    assert prompt.parts == (((Span(3, "a"), Span(10, "b")), 1.0), ((Span(10, " c"),), 2.0))
    assert [tag.kind for tag in prompt.tags] == ["lora"]
    negative = read_negative("[a:b:3] AND c :2<lora:x:1>", TEN)
    assert negative.parts == (((Span(3, "a AND c :2<lora:x:1>"), Span(10, "b AND c :2<lora:x:1>")), 1.0),)
    assert negative.tags == ()


HOSTILE = {
    "round": "(" * 50_000,
    "square": "[" * 50_000,
    "pairs": "()" * 25_000,
    "closing": "])" * 25_000,
    "weighed words": "(a" * 25_000,
    "weighed words, closed": "(a" * 20_000 + ")" * 20_000,
    "weighed words, numbers": "(a" * 15_000 + ":1.1)" * 15_000,
    "crossing": "(a[b" * 10_000 + ")" * 10_000 + "]" * 10_000,
    "open edits": "[a:b:" * 5_000,
    "nested edits": "[a:" * 5_000 + "b" + ":3]" * 5_000,
    "alternations": "[a|b]" * 5_000,
    "words": "word, " * 17_000,
    "spaces": " " * 100_000 + "x",
    "colons": ":1 " * 30_000,
    "bars": "[|" * 50_000,
    "backslashes": "\\" * 100_000,
    "breaks": "BREAK " * 17_000,
    "spaced breaks": (" " * 1000 + "BREAK") * 100,
    "ands": "AND " * 25_000,
    "spaced weights": "a :" + " " * 99_000 + "x",
    "tags": "<a:" * 33_000,
    "empty tags": "<a:>" * 25_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_A17_hostile_prompts_take_linear_time(name):
    text = HOSTILE[name]
    assert min(seconds_to_read(text) for _ in range(3)) < 0.2


def seconds_to_read(text):
    before = time.process_time()
    prompt = read_prompt(text, Timeline(steps=20))
    parse_attention(prompt.parts[0][0][0].text)
    return time.process_time() - before


def test_any_text_is_read():
    rng = random.Random(0)
    atoms = [*"[]():|\\ \n", "a", "BREAK", "AND", "0.5", "3", ":1.2)", "<lora:", ">", "[a:b:3]", "[c|d]", "é", "\0"]
    for _ in range(3000):
        text = "".join(rng.choices(atoms, k=rng.randint(0, 30)))
        prompt = read_prompt(text, TEN)
        for parts, _ in prompt.parts:
            assert parts[-1].end == 10
            assert [span.end for span in parts] == sorted({span.end for span in parts})
            for span in parts:
                pieces = parse_attention(span.text)
                assert pieces
                assert all(a[1] != b[1] for a, b in zip(pieces, pieces[1:], strict=False))
