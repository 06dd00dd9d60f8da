"""Help with prompts, over the API."""

import json

import pytest

from modules.core.paths import ROOT

CHECK = "/atelier/prompts/check"
COMPLETE = "/atelier/prompts/complete"


@pytest.fixture(scope="module", autouse=True)
def named(service):
    """A LoRA, an embedding, a wildcard, a style and a list of tags."""
    models = service.paths.data / "models"
    for folder in ("Lora", "embeddings", "wildcards/animals", "tags"):
        (models / folder).mkdir(parents=True, exist_ok=True)
    for name in ("Lora/starter-parchment.safetensors", "embeddings/starter-mascot.safetensors"):
        (models / name).write_bytes((ROOT / "models" / name).read_bytes())
    (models / "wildcards" / "animals" / "wild.txt").write_text("fox\nwolf\n", "utf-8")
    (models / "tags" / "mine.csv").write_text('saber_(fate),4,900,"artoria"\nstar_field,0,50,\n^_^,0,9,\n', "utf-8")
    service.library.models("Lora").read_list()
    service.styles.save("Stardust", "{prompt}, glitter", "dull")
    yield
    service.styles.delete("Stardust")


def count(client, field="prompt", **body):
    answer = client.post(CHECK, json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()["counts"][field]
    return found["tokens"], found["room"], found["exact"], found["varies"]


def test_tokens_are_counted(client):
    assert count(client, prompt="a red star <lora:x:1> # not this") == (3, 75, True, False)
    assert count(client, "negative_prompt", negative_prompt="blurry, text") == (3, 75, True, False)
    assert count(client, prompt="a {red|blue} star") == (3, 75, True, True)
    assert count(client, prompt="a {red|blue} star", dynamic_prompts=False)[0] > 3
    assert count(client, prompt="cat BREAK " * 5) == (301, 375, True, False)
    assert count(client, prompt="cat", checkpoint="no such") == (1, 75, True, False)


def test_styles_count_unless_a_setting_says_otherwise(client, service):
    service.styles.save("Night", "{prompt} at night", "day")
    try:
        body = {"prompt": "a star", "styles": ["Night", "gone"]}
        assert count(client, **body)[0] == 4
        client.post("/sdapi/v1/options", json={"include_styles_into_token_counters": False})
        assert count(client, **body)[0] == 2
    finally:
        client.post("/sdapi/v1/options", json={"include_styles_into_token_counters": True})
        service.styles.delete("Night")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"prompt": 3}, "prompt"),
        ({"prompt": "x" * 20_001}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"styles": "Night"}, "styles"),
        ({"steps": 0}, "steps"),
        ({"width": 1.5}, "width"),
        ({"cfg_scale": "much"}, "cfg_scale"),
    ],
)
def test_what_cannot_be_checked_is_a_sentence(client, body, said):
    answer = client.post(CHECK, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    "text", ["[" * 20_000, "(((a|b" * 3000, "{" * 20_000, "[a|b:0.5]" * 2000, "<" * 20_000, "# " * 9999]
)
def test_no_text_is_too_much(client, text):
    assert count(client, prompt=text[:20_000])[1] >= 75


def completed(client, before, **body):
    answer = client.post(COMPLETE, json={"before": before, **body})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return found["length"], [(one["kind"], one["insert"]) for one in found["completions"]]


def test_networks_and_wildcards_are_completed(client):
    assert completed(client, "a star <lora:PARCH") == (11, [("lora", "<lora:starter-parchment:1> parchment")])
    assert completed(client, "<lyco:parch")[1] == [("lyco", "<lyco:starter-parchment:1> parchment")]
    assert completed(client, "<lo") == (3, [("lora", "<lora:starter-parchment:1> parchment")])
    assert completed(client, "<hypernet:parch") == (0, [])
    assert completed(client, "a __wil") == (5, [("wildcard", "__animals/wild__")])
    assert completed(client, "a __animals/wild__ __") == (2, [("wildcard", "__animals/wild__")])
    assert completed(client, "a __animals/wild__ f")[1] == []


def test_words_are_completed(client):
    assert completed(client, "x, starter-m") == (9, [("embedding", "starter-mascot")])
    assert ("style", "glitter") in completed(client, "stard")[1]
    assert ("style", "dull") in completed(client, "stard", negative=True)[1]
    assert completed(client, "a house, sab") == (3, [("tag", r"saber \(fate\), ")])
    assert completed(client, "a big artor") == (5, [("tag", r"saber \(fate\), ")])
    assert completed(client, "s") == (0, [])
    assert completed(client, "^_") == (2, [("tag", "^_^, ")])


def test_the_settings_say_how(client):
    options = {"tac_replaceUnderscores": False, "tac_escapeParentheses": False, "tac_appendComma": False}
    client.post("/sdapi/v1/options", json=options)
    assert completed(client, "saber")[1] == [("tag", "saber_(fate)")]
    client.post("/sdapi/v1/options", json={"tac_active": False})
    assert completed(client, "saber") == (0, [])
    client.post("/sdapi/v1/options", json=dict.fromkeys([*options, "tac_active"], True))
    assert client.post("/sdapi/v1/options", json={"tac_maxResults": 0}).status_code == 422


@pytest.mark.parametrize(
    "body", [{"before": 5}, {"before": "x" * 20_001}, {"before": "x", "negative": "maybe"}, [], {"before": "\ud800"}]
)
def test_what_cannot_be_completed_is_a_sentence(client, body):
    answer = client.post(COMPLETE, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert (answer.status_code, bool(answer.json()["detail"])) == (422, True)


def noted(client, **body):
    answer = client.post(CHECK, json=body)
    assert answer.status_code == 200, answer.text
    return [
        (
            note["field"],
            body.get(note["field"], "")[note["start"] : note["end"]] if "prompt" in note["field"] else "",
            note["text"],
        )
        for note in answer.json()["notes"]
    ]


@pytest.mark.parametrize(
    ("prompt", "place", "words"),
    [
        ("a (big red star", "(", 'The ( before "big red star" is never closed'),
        ("a big) star", ")", 'behind "a big" closes nothing'),
        ("[[a] star", "[", "weakens all that follows"),
        ("a {red|blue star", "{", "never closed"),
        ("a <lora:starter-parchment:1 star", "<lora:starter-parchment:1 star", "Put > behind it"),
        ("a <lora:starter-parchmnt:1>", "<lora:starter-parchmnt:1>", "Nearest: starter-parchment"),
        ("a <hypernet:winter:1>", "<hypernet:winter:1>", "no hypernetwork"),
        ("a <loar:x:1>", "<loar:x:1>", "has no effect"),
        ("a __animals/wlid__", "__animals/wlid__", "Nearest: animals/wild"),
        ("a starter-mascot", "starter-mascot", "of another family"),
        ("a starter-mascott", "starter-mascott", "There is starter-mascot"),
        ("embedding:starter-mascot", "embedding:starter-mascot", "ComfyUI"),
        ("embedding:nothing", "embedding:nothing", "no embedding"),
        ("cat " * 80, "cat " * 5, "BREAK"),
    ],
)
def test_what_is_odd_is_named_and_found(client, prompt, place, words):
    ((field, found, text),) = noted(client, prompt=prompt)
    assert field == "prompt"
    assert found.strip() == place.strip()
    assert words in text


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        r"a \(b\) :\) [c|d] {e|f} ((g))",
        "<lora:starter-parchment:1> __animals/wild__ __animals/*__",
        "a # (not this",
        "cat BREAK " * 3,
        "snake_case 35mm f1.8",
    ],
)
def test_what_is_in_order_is_not_spoken_of(client, prompt):
    assert noted(client, prompt=prompt) == []


def test_networks_are_for_the_prompt(client):
    ((field, found, text),) = noted(client, negative_prompt="bad <lora:starter-parchment:1>")
    assert (field, found, "read as words" in text) == ("negative_prompt", "<lora:starter-parchment:1>", True)


def test_the_linter_can_be_switched_off(client):
    client.post("/sdapi/v1/options", json={"prompt_notes": False})
    assert noted(client, prompt="((") == []
    client.post("/sdapi/v1/options", json={"prompt_notes": True})
    assert len(noted(client, prompt="((")) == 1


HISTORY = "/atelier/prompts/history"


def test_submitted_prompts_are_kept(client, draw):
    draw(prompt="a green star", negative_prompt="dull", steps=1)
    draw(prompt="a blue moon", steps=1)
    draw(prompt="a green star", negative_prompt="dull", steps=1)
    told = client.get(HISTORY).json()
    assert [(pair["prompt"], pair["negative_prompt"]) for pair in told["prompts"][:2]] == [
        ("a green star", "dull"),
        ("a blue moon", ""),
    ]
    (moon,) = client.get(HISTORY, params={"search": "moon"}).json()["prompts"]
    assert client.post(f"{HISTORY}/{moon['id']}/pin", json={"pinned": True}).status_code == 200
    assert client.get(HISTORY).json()["prompts"][0]["prompt"] == "a blue moon"
    assert client.delete(f"{HISTORY}/{moon['id']}").status_code == 200
    assert client.delete(f"{HISTORY}/{moon['id']}").status_code == 404
    client.post(HISTORY, json={name: moon[name] for name in ("prompt", "negative_prompt", "used")})
    assert [pair["prompt"] for pair in client.get(HISTORY).json()["prompts"]][:2] == ["a green star", "a blue moon"]
    assert client.delete(HISTORY).json() == {}
    assert client.get(HISTORY).json()["total"] == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "?limit=0", None, 422),
        ("GET", "?offset=-1", None, 422),
        ("GET", f"?search={'x' * 201}", None, 422),
        ("POST", "", {"prompt": "x" * 20_001}, 422),
        ("POST", "", {"prompt": "x", "used": "yesterday"}, 422),
        ("POST", "/x/pin", {"pinned": True}, 422),
        ("POST", "/5000/pin", {"pinned": True}, 404),
        ("POST", "/5000/pin", {"pinned": "perhaps"}, 422),
        ("DELETE", "/0", None, 422),
        ("DELETE", "/99999999999999999999", None, 422),
    ],
)
def test_bad_calls_of_the_history_are_sentences(client, method, path, body, status):
    answer = client.request(method, HISTORY + path, json=body)
    assert (answer.status_code, bool(answer.json()["detail"])) == (status, True)


def test_the_words_of_the_builder(client, service):
    told = client.get("/atelier/prompts/builder").json()
    assert told["categories"][0]["name"] == "subject"
    assert told["trouble"] == ""
    own = service.paths.prompt_builder
    own.write_text("a: [b\n", "utf-8")
    told = client.get("/atelier/prompts/builder")
    assert (told.status_code, "line 2" in told.json()["trouble"]) == (200, True)
    own.unlink()
