"""What is written beside a model and in it."""

import json

import pytest

from modules.library.descriptions import MAX_TEXT, Description, describe, short_values


def written(folder, **files):
    for end, content in files.items():
        (folder / f"a.{end.replace('_', '.')}").write_text(content if isinstance(content, str) else json.dumps(content))
    return [path.name for path in folder.iterdir()]


A1111 = {
    "description": "A fox",
    "sd version": "SDXL",
    "activation text": "foxy, red fur",
    "preferred weight": 0.8,
    "negative text": "dog",
    "notes": "mine",
}
CIVITAI = {
    "name": "v2",
    "baseModel": "SD 1.5",
    "trainedWords": ["foxx, fluffy", "tail"],
    "model": {"name": "Foxes", "description": "<p>Many &amp; <b>red</b></p><p>foxes</p>"},
}


def test_a1111s(tmp_path):
    assert describe(tmp_path, written(tmp_path, json=A1111), {}) == Description(
        base="SDXL",
        words=("foxy", "red fur"),
        activation="foxy, red fur",
        text="A fox",
        notes="mine",
        negative="dog",
        weight=0.8,
    )


def test_civitais(tmp_path):
    found = describe(tmp_path, written(tmp_path, civitai_info=CIVITAI), {})
    assert found == Description(
        title="Foxes v2",
        base="SD 1.5",
        words=("foxx", "fluffy", "tail"),
        activation="foxx, fluffy, tail",
        text="Many & red\nfoxes",
    )


def test_stability_matrixs(tmp_path):
    stored = {
        "ModelName": "Foxes",
        "VersionName": "v2",
        "BaseModel": "Pony",
        "TrainedWords": ["fox"],
        "ModelDescription": "x",
    }
    (tmp_path / "a.cm-info.json").write_text(json.dumps(stored))
    found = describe(tmp_path, ["a.cm-info.json"], {})
    assert found == Description(title="Foxes v2", base="Pony", words=("fox",), activation="fox", text="x")


def test_the_users_words_come_first_and_the_others_fill_in(tmp_path):
    names = written(tmp_path, json={"activation text": "mine"}, civitai_info=CIVITAI, txt="plain text")
    found = describe(tmp_path, names, {"ss_output_name": "fox_v2", "modelspec.trigger_phrase": "no"})
    assert (found.words, found.base, found.alias, found.text) == (("mine",), "SD 1.5", "fox_v2", "Many & red\nfoxes")


def test_kohyas_most_frequent_tags(tmp_path):
    tags = {"10_fox": {"fox": 10, "red": 3, "odd": "x", "wrong": True}, "20_more": {"red": 9, "fox": 1}, "none": 7}
    assert describe(tmp_path, [], {"ss_tag_frequency": json.dumps(tags)}).words == ("red", "fox")
    many = {"a": {f"tag{n}": n for n in range(1, 500)}}
    assert describe(tmp_path, [], {"ss_tag_frequency": json.dumps(many)}).words[0] == "tag499"


def test_modelspec(tmp_path):
    found = describe(
        tmp_path,
        [],
        {
            "modelspec.title": "T",
            "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
            "modelspec.description": "<i>D</i>",
            "modelspec.trigger_phrase": "one, two",
        },
    )
    assert found == Description(
        title="T", base="stable-diffusion-xl-v1-base/lora", words=("one", "two"), activation="one, two", text="D"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"description": 7, "activation text": ["x"], "preferred weight": "x", "sd version": {}}',
        '{"preferred weight": 1e999, "notes": null}',
        '{"description": "\\ud800\\u0000"}',
        '{"trainedWords": {"a": "x"}, "model": [1], "baseModel": 5, "name": []}',
        '{"trainedWords": [1, null, ["x"]], "model": {"description": {"a": 1}}}',
    ],
    ids=range(10),
)
def test_nonsense_says_nothing(tmp_path, text):
    for name in ("a.json", "a.civitai.info", "a.cm-info.json"):
        (tmp_path / name).write_text(text)
        assert describe(tmp_path, [name], {"ss_tag_frequency": text}) == Description()


def test_long_and_strange_text_is_cut(tmp_path):
    (tmp_path / "a.json").write_text(
        json.dumps({"description": "x\x1b[2J\u202e" * MAX_TEXT, "activation text": "w," * 10_000})
    )
    found = describe(tmp_path, ["a.json"], {})
    assert len(found.text) == MAX_TEXT
    assert found.text.startswith("x[2Jx")
    assert found.words == ("w",)


def test_a_sidecar_that_went_away_says_nothing(tmp_path):
    assert describe(tmp_path, ["a.json", "a.civitai.info", "a.txt"], {}) == Description()


def test_short_values():
    given = {
        "a": "text",
        "b": '{"x": 1}',
        "c": "x" * 5000,
        "d": '{"x": NaN}',
        "e": '{"x": 1e999}',
        "f": '{"x": "\\ud800"}',
        "g\ud800": "\ud800",
        "h": "{" * 1000,
    }
    found = short_values(given)
    assert (found["a"], found["b"], found["d"]) == ("text", {"x": 1}, '{"x": NaN}')
    assert "c" not in found
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
