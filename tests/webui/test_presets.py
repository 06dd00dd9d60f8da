"""Presets: kept from the page, applied to it, shared as a file; what is broken in one is told and the rest taken."""

import json
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from modules.api.errors import add_error_handlers
from modules.jobs.service import JobService
from webui.preset_routes import build_preset_routes
from webui.presets import with_networks
from webui.tabs.txt2img import Txt2ImgTab

TOUCHED = {"steps": 33, "width": 512, "prompt": "a fox <lora:ink:0.5>", "negative_prompt": "blurry"}


@pytest.fixture
def client(service: JobService, tab: Txt2ImgTab) -> TestClient:
    app = FastAPI()
    add_error_handlers(app)
    app.include_router(build_preset_routes(service, [tab]))
    return TestClient(app)


def memory(checkpoint: str = "large.safetensors", **touched: Any) -> str:
    return json.dumps({"checkpoint": checkpoint, "touched": touched})


def asked(client: TestClient, action: str, **body: Any) -> dict[str, Any]:
    return client.post(f"/atelier/presets/{action}", json=body).json()


def test_a_preset_holds_model_sampler_size_and_networks(client: TestClient):
    (preset,) = asked(client, "keep", name=" mine ", memory=memory(**TOUCHED))["presets"]
    assert (preset["name"], preset["checkpoint"], preset["networks"]) == (
        "mine",
        "large.safetensors",
        ["<lora:ink:0.5>"],
    )
    assert (preset["values"]["steps"], preset["values"]["width"], preset["values"]["height"]) == (33, 512, 768)
    assert "prompt" not in preset["values"]
    now = memory("small.safetensors", prompt="a boat <lora:other:1> at sea", steps=3)
    found = asked(client, "apply", name="mine", memory=now)
    assert found["notes"] == []
    assert found["values"]["prompt"] == "a boat at sea <lora:ink:0.5>"
    assert (found["values"]["sd_model_checkpoint"], found["values"]["steps"]) == ("large.safetensors", 33)


def test_prompts_are_part_of_it_if_wanted(client: TestClient):
    asked(client, "keep", name="mine", memory=memory(**TOUCHED), prompts=True)
    values = asked(client, "apply", name="mine", memory=memory(prompt="a boat"))["values"]
    assert (values["prompt"], values["negative_prompt"]) == (TOUCHED["prompt"], "blurry")


def test_presets_are_shared_as_a_file_and_deleted(client: TestClient):
    for name in ("b", "A", "b"):
        asked(client, "keep", name=name, memory=memory())
    text = client.get("/atelier/presets/file").text
    assert [one["name"] for one in asked(client, "delete", name="b")["presets"]] == ["A"]
    assert [one["name"] for one in asked(client, "file", file="x.json", text=text)["presets"]] == ["A", "b"]
    assert "no preset" in asked(client, "delete", name="c")["detail"]


def test_of_a_strange_file_what_is_known_is_taken(client: TestClient):
    good = {
        "name": "good",
        "later": 1,
        "values": {"steps": 900, "width": 256, "height": "x", "evil": 1},
        "checkpoint": "gone",
    }
    text = json.dumps({"atelier_presets": 7, "presets": [good, {"name": ""}, 5, {"name": "x" * 101}]})
    found = asked(client, "file", file="x.json", text=text)
    assert [one["name"] for one in found["presets"]] == ["good"]
    assert found["notes"][0] == '"x.json" is of version 7, not 1: what is known of it is taken.'
    assert [note.partition(":")[0] for note in found["notes"][1:]] == [
        f'Preset {number} of "x.json" is left out' for number in (2, 3, 4)
    ]
    applied = asked(client, "apply", name="good", memory=memory())
    assert (applied["values"]["width"], "steps" in applied["values"], "evil" in applied["values"]) == (
        256,
        False,
        False,
    )
    assert [note[:24] for note in applied["notes"]][:2] == ['The value of "steps" in ', 'The value of "height" in']
    assert "gone" in applied["notes"][2] and "sd_model_checkpoint" not in applied["values"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"presets": 5}', "[" * 9000])
def test_what_is_no_file_of_presets_is_refused(client: TestClient, text: str):
    assert asked(client, "file", file="x.json", text=text)["detail"].startswith('"x.json" is no file of presets.')
    assert client.get("/atelier/presets").json()["presets"] == []


def test_a_broken_file_of_ours_is_told_and_kept(client: TestClient, service: JobService):
    service.paths.presets.write_text("{")
    assert "no file of presets" in client.get("/atelier/presets").json()["detail"]
    assert "no file of presets" in asked(client, "keep", name="mine", memory=memory())["detail"]
    assert service.paths.presets.read_text() == "{"


def test_names_and_tabs_are_checked(client: TestClient):
    assert asked(client, "keep", name="  ")["detail"] == "The preset has no name. Give it one."
    assert "no tab" in asked(client, "keep", name="a", tab="extras")["detail"]


def test_networks_take_the_place_of_others():
    assert with_networks("a <lora:x:1>, b<lyco:y:1:2>", ("<lora:z:1>",)) == "a, b <lora:z:1>"
    assert with_networks("", ()) == ""
