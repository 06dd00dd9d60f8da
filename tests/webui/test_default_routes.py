"""Settings > Defaults: what differs is seen, stored in ui-config.json, begins the page, and is undone."""

import json
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from modules.api.errors import add_error_handlers
from modules.jobs.service import JobService
from webui.default_routes import build_default_routes
from webui.tabs.txt2img import Txt2ImgTab


@pytest.fixture
def client(service: JobService, tab: Txt2ImgTab) -> TestClient:
    app = FastAPI()
    add_error_handlers(app)
    app.include_router(build_default_routes(service, [tab]))
    return TestClient(app)


def asked(client: TestClient, action: str, **touched: Any) -> dict[str, Any]:
    memory = json.dumps({"checkpoint": "small.safetensors", "touched": touched})
    return client.post(f"/atelier/defaults/{action}", json={"memories": {"txt2img": memory}}).json()


def begun(tab: Txt2ImgTab) -> dict[str, Any]:
    return json.loads(tab.fill('{"checkpoint": "small.safetensors", "touched": {}}')[-1])


TOUCHED = {
    "steps": 33,
    "width": 512,
    "height": 192,
    "prompt": "a fox",
    "sampler_name": "no such",
    "override_settings": [],
}


def test_what_differs_is_listed(client: TestClient):
    found = asked(client, "view", **TOUCHED)
    listed = {change["key"]: (change["before"], change["value"]) for change in found["changes"]}
    assert listed == {
        "txt2img/Sampling steps/value": (12, 33),
        "txt2img/Width/value": (128, 512),
        "txt2img/Prompt/value": ("a red boat", "a fox"),
    }
    assert (found["stored"], found["undo"], found["trouble"]) == ([], False, "")


def test_it_is_stored_begins_the_page_and_is_undone(client: TestClient, tab: Txt2ImgTab, service: JobService):
    service.paths.ui_config.write_text('{"txt2img/Sampling steps/value": 20.5, "modelmerger/x/value": 1}')
    found = asked(client, "apply", **TOUCHED)
    assert found["changes"] == [] and found["undo"]
    assert {one["label"]: one["value"] for one in found["stored"]} == {
        "Sampling steps": 33,
        "Width": 512,
        "Prompt": "a fox",
    }
    assert (begun(tab)["steps"], begun(tab)["width"], begun(tab)["height"]) == (33, 512, 192)
    kept = json.loads(service.paths.ui_config.read_text())
    assert kept["modelmerger/x/value"] == 1 and kept["txt2img/Width/value"] == 512
    assert asked(client, "undo")["undo"] is False
    assert json.loads(service.paths.ui_config.read_text())["txt2img/Sampling steps/value"] == 20.5
    assert begun(tab)["width"] == 128


def test_units_of_the_detail_pass_have_defaults_too(client: TestClient, tab: Txt2ImgTab):
    found = asked(client, "apply", detail='{"ad_mask_blur_1": 9}')
    assert [one["label"] for one in found["stored"]] == ["ADetailer mask blur (1)"]
    assert json.loads(begun(tab)["detail"])["ad_mask_blur_1"] == 9


def test_a_broken_file_is_told_and_not_overwritten(client: TestClient, service: JobService):
    service.paths.ui_config.write_text("{")
    assert asked(client, "view", steps=33)["trouble"].startswith("ui-config.json is left out: ")
    assert asked(client, "apply", steps=33)["detail"].startswith("ui-config.json is left out: ")
    assert service.paths.ui_config.read_text() == "{"


def test_what_cannot_be_done_is_told(client: TestClient):
    assert asked(client, "apply", steps=12)["detail"].startswith("Nothing differs")
    assert asked(client, "undo")["detail"].startswith("There is nothing to undo")
    assert "is no route" in asked(client, "burn")["detail"]
    assert client.post("/atelier/defaults/view", json={"memories": {"txt2img": "["}}).json()["changes"] == []
