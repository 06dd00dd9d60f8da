"""Templates and wildcards over the API."""

import base64
import json

import pytest


@pytest.fixture(scope="module", autouse=True)
def words(service):
    folder = service.paths.data / "models" / "wildcards" / "mine"
    folder.mkdir(parents=True)
    (folder / "colour.txt").write_text("red\ngreen\n", "utf-8")


def test_every_combination_is_drawn_once(draw):
    answer = draw(prompt="a {big|small} __mine/colour__ star", dp_combinatorial=True, seed=3)
    info = json.loads(answer["info"])
    assert len(answer["images"]) == 4
    assert info["all_prompts"] == [f"a {size} {hue} star" for size in ("big", "small") for hue in ("green", "red")]
    assert info["all_seeds"] == [3, 4, 5, 6]
    assert "Template: a {big|small} __mine/colour__ star" in info["infotexts"][0]


def test_the_extensions_arguments(draw):
    args = [True, True, 1, False, False, False, 1.1, 1.5, 100, 0.7, True, False, True, False, False, 3, "", ""]
    answer = draw(prompt="{a|b|c|d}", seed=3, alwayson_scripts={"Dynamic Prompts v2.17.1": {"args": args}})
    info = json.loads(answer["info"])
    assert (info["all_prompts"], info["all_seeds"]) == (["a", "b", "c"], [3, 3, 3])
    off = draw(prompt="{a|b}", alwayson_scripts={"Dynamic Prompts v2.17.1": {"args": [False]}})
    assert json.loads(off["info"])["all_prompts"] == ["{a|b}"]


def test_what_is_not_there_is_said(client):
    args = [True, False, 1, False, False, False, 1.1, 1.5, 100, 0.7, False, False, True, True]
    body = {"prompt": "x", "alwayson_scripts": {"Dynamic Prompts v2.17.1": {"args": args}}}
    answer = client.post("/sdapi/v1/txt2img", json=body)
    assert (answer.status_code, "Jinja2 templates" in answer.text) == (422, True)
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": "{a|b|c|d}" * 9, "dp_combinatorial": True})
    assert (answer.status_code, "Max generations" in answer.text) == (422, True)


def test_wildcards_are_listed(client):
    found = client.get("/atelier/wildcards").json()
    assert found == {"total": 1, "offset": 0, "wildcards": [{"name": "mine/colour", "count": 2}]}
    assert client.get("/atelier/wildcards", params={"search": "nothing"}).json()["wildcards"] == []
    values = client.get("/atelier/wildcards/values", params={"name": "mine/*", "search": "re"}).json()
    assert values == {"total": 2, "offset": 0, "values": ["green", "red"]}
    answer = client.get("/atelier/wildcards/values", params={"name": "../../etc/passwd"})
    assert (answer.status_code, "no wildcard" in answer.text) == (404, True)


def test_prompts_are_told_without_drawing(client):
    body = {"prompt": "{@a|b} __no__", "negative_prompt": "{@c|d}", "n_iter": 3, "seed": 7}
    found = client.post("/atelier/prompts", json=body).json()
    assert found["prompts"] == ["a __no__", "b __no__", "a __no__"]
    assert (found["negative_prompts"], found["seeds"]) == (["c", "d", "c"], [7, 8, 9])
    assert "no wildcard __no__" in found["warnings"][0]
    assert client.post("/atelier/prompts", json={"prompt": "x", "n_iter": 0}).status_code == 422


def test_the_same_picture_is_made_again(client, draw, service):
    made = draw(prompt="{a|b|c} star", seed=11, n_iter=2)
    answer = client.post("/atelier/reproduce", content=base64.b64decode(made["images"][1]))
    assert answer.status_code == 200, answer.text
    service.wait(answer.json()["job"], 60)
    found = client.post(
        f"/atelier/jobs/{answer.json()['job']}/compare", content=base64.b64decode(made["images"][1])
    ).json()
    assert (found["message"], found["difference"]) == ("Every pixel is the same. No setting differs.", None)


def test_styles(client, draw):
    style = {"name": "Ink", "prompt": "{prompt}, ink", "negative_prompt": "photo"}
    assert client.post("/atelier/styles", json=style).status_code == 200
    assert client.get("/sdapi/v1/prompt-styles").json() == [style]
    info = json.loads(draw(prompt="a star", styles=["Ink"])["info"])
    assert (info["all_prompts"], info["all_negative_prompts"], info["styles"]) == (["a star, ink"], ["photo"], ["Ink"])
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": "x", "styles": ["Inc"]})
    assert (answer.status_code, "Nearest: Ink" in answer.text) == (422, True)
    assert client.delete("/atelier/styles", params={"name": "Ink"}).status_code == 200
    assert client.get("/sdapi/v1/prompt-styles").json() == []
    assert client.post("/atelier/styles", json={"name": ""}).status_code == 422
