"""Infotext: what A1111 wrote is read as A1111 reads it, and what we write comes back."""

import json
import random
from pathlib import Path

import pytest

from modules.core.errors import InputError
from modules.images.infotext import (
    NEGATIVE,
    Infotext,
    format_infotext,
    parse_fields,
    parse_infotext,
    quote,
    to_request_values,
    unquote,
)
from modules.requests.guidance import DynamicThresholding, FreeU, SelfAttentionGuidance
from modules.requests.txt2img import make_request

RECORDED = json.loads(Path(__file__).parents[1].joinpath("data", "a1111_infotexts.json").read_text("utf-8"))
PIECES = [
    *"abc XYZ 019 ,,::\"\"\\\\''()[]{}<>|=#%&;~`/-_.",
    "\n",
    "\n\n",
    "Steps: 20",
    "Negative prompt",
    "Size: 1x1",
    "é",
    "漢",
    "😀",
    "\u202e",
]


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["case"])
def test_a1111(case):
    found = parse_infotext(case["infotext"])
    assert found == Infotext(prompt=case["prompt"], negative_prompt=case["negative_prompt"], fields=case["fields"])


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["case"])
def test_written_again_it_says_the_same(case):
    found = parse_infotext(case["infotext"])
    again = format_infotext(found.prompt, found.negative_prompt, found.fields)
    assert parse_infotext(again) == found
    assert again.split("\n")[-1] == case["infotext"].split("\n")[-1]


def some_text(source: random.Random) -> str:
    return "".join(source.choices(PIECES, k=source.randrange(40)))


def as_read(text: str) -> str:
    """What the format keeps of a prompt: the white space around its lines and before its first is not part of it."""
    return "\n".join(line.strip() for line in text.split("\n")).lstrip("\n")


def test_D1_round_trip_of_any_text():
    source = random.Random(7)
    for _ in range(3000):
        prompt, negative = some_text(source), some_text(source)
        if any(line.strip().startswith(NEGATIVE) for line in prompt.split("\n")):
            continue
        fields = {"Steps": "20", "Sampler": "Euler", "Seed": "1"}
        fields.update({f"Key {n}": some_text(source) for n in range(source.randrange(4))})
        found = parse_infotext(format_infotext(prompt, negative, fields))
        assert found.prompt == as_read(prompt)
        assert found.negative_prompt == as_read(negative)
        assert found.fields == fields


def test_quotes():
    source = random.Random(8)
    for _ in range(3000):
        text = some_text(source)
        assert unquote(quote(text)) == text
    assert quote(7.0) == "7.0"
    assert quote("a, b: c") == '"a, b: c"'
    assert unquote('"half') == '"half'
    assert unquote('"bad \\x"') == '"bad \\x"'


def test_nothing_is_raised_on_any_text():
    source = random.Random(9)
    for _ in range(3000):
        text = some_text(source) + source.choice(
            ["", "\nSteps: 1, Sampler: x, Seed: 2", '\nSteps: "', "\nSteps: 1,,,:::"]
        )
        assert isinstance(parse_infotext(text), Infotext)


@pytest.mark.parametrize(
    "text",
    [
        "a " * 200_000,
        "a" * 300_000,
        "<lora:" * 100_000,
        "(" * 500_000,
        " " * 200_000 + "x",
        'a:"' * 100_000,
        'a: "\\' * 100_000,
        'a: "\\", ' * 50_000,
        "a: 1, " * 50_000,
        "," * 300_000,
        ":" * 300_000,
        "\n" * 300_000,
        "Negative prompt:\n" * 20_000,
    ],
    ids=range(13),
)
def test_A17_hostile_infotext_is_walked_through_once(text, monkeypatch):
    """Counts what is looked at, as a clock would be fooled by a busy machine: the position in the line only ever grows."""
    from modules.images import infotext

    starts: list[int] = []
    real = infotext._value

    def watched(line: str, start: int) -> tuple[str, int]:
        value, position = real(line, start)
        assert position > start
        starts.append(position)
        return value, position

    monkeypatch.setattr(infotext, "_value", watched)
    parse_infotext(text)
    assert starts == sorted(set(starts))


def test_fewer_than_three_fields_are_prompt():
    assert parse_infotext("a cat\nSteps: 20, Seed: 1").prompt == "a cat\nSteps: 20, Seed: 1"
    assert parse_infotext("a cat\nSteps: 20, Seed: 1, Sampler: x").prompt == "a cat"
    assert parse_infotext("") == Infotext()


def test_format_leaves_out_what_is_none_and_shortens_flags():
    text = format_infotext("p", "", {"Steps": 1, "Eta": None, "Tiling": "Tiling", "Note": "a, b"})
    assert text == 'p\nSteps: 1, Tiling, Note: "a, b"'


def test_fields_with_junk_between():
    assert parse_fields('Steps: 1, junk, Seed: 2, x: "a, b", y: "half, Size: 3x4') == {
        "Steps": "1",
        "Seed": "2",
        "x": "a, b",
        "y": '"half',
        "Size": "3x4",
    }


def test_to_request_values():
    text = parse_infotext(RECORDED[0]["infotext"])
    request = make_request(to_request_values(text))
    assert (request.prompt, request.seed, request.steps) == (
        text.prompt,
        int(text.fields["Seed"]),
        int(text.fields["Steps"]),
    )
    assert f"{request.width}x{request.height}" == text.fields["Size"]
    for size in ("", "64", "64x", "64x64x64", "axb", "9" * 9 + "x1", "²x²"):
        with pytest.raises(InputError, match="Size"):
            to_request_values(Infotext(fields={"Size": size}))


def test_forges_distilled_scale_is_read():
    line = "a fox\nSteps: 20, Sampler: Euler, CFG scale: 1, Distilled CFG Scale: 2.5, Seed: 1, Size: 512x512"
    request = make_request(to_request_values(parse_infotext(line)))
    assert (request.cfg_scale, request.distilled_cfg_scale) == (1, 2.5)


def test_forges_techniques_are_read():
    line = (
        "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 512x512, Tiling: True, dynthres_enabled: True, "
        "dynthres_mimic_scale: 5, dynthres_threshold_percentile: 0.95, dynthres_mimic_mode: Constant, "
        "dynthres_separate_feature_channels: enable, freeu_enabled: True, freeu_b1: 1.3, freeu_b2: 1.4, freeu_s1: 0.9, "
        "freeu_s2: 0.2, freeu_start: 0, freeu_end: 0.5, sag_enabled: True, sag_scale: 0.75, CFG Rescale phi: 0.7"
    )
    request = make_request(to_request_values(parse_infotext(line)))
    assert (request.tiling, request.cfg_rescale) == (True, 0.7)
    assert request.freeu == FreeU.model_validate({"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2, "end": 0.5})
    assert request.self_attention_guidance == SelfAttentionGuidance.model_validate({"scale": 0.75})
    assert request.dynamic_thresholding == DynamicThresholding.model_validate(
        {"mimic_scale": 5, "threshold_percentile": 0.95}
    )
    assert request.perturbed_attention_guidance is None


def test_templates_behind_the_fields_are_read():
    """As Dynamic Prompts wrote them before they were fields."""
    found = parse_infotext(
        "a red cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler, Seed: 1\nTemplate: a {red|blue} cat,\nlast\nNegative Template: {dog|}"
    )
    assert (found.prompt, found.negative_prompt, found.fields["Seed"]) == ("a red cat", "dog", "1")
    assert (found.fields["Template"], found.fields["Negative Template"]) == ("a {red|blue} cat,\nlast", "{dog|}")
    assert parse_infotext("a cat\nTemplate: of wood").prompt == "a cat\nTemplate: of wood"
    assert parse_infotext("Template: x\n" * 5000).fields == {}
