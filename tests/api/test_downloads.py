"""The routes for getting models, over a local site."""

import json
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from modules.api.app import build_api
from modules.core.flags import Flags
from modules.library.downloads.queue import Downloads
from modules.library.downloads.tokens import HUGGING_FACE
from tests.api.conftest import HOST
from tests.jobs.helpers import make_service, puppet_inline
from tests.library.downloads.conftest import ended, make_downloads
from tests.library.servers import Site, model, serve_civitai, serve_repo, sha256, site

REPO = "ann/fine-model"


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Iterator[Site]:
    with site() as running:
        folder = tmp_path_factory.mktemp("shop")
        serve_repo(running, REPO, {"a.safetensors": model(folder), "b-lora.safetensors": model(folder, name="b")})
        serve_civitai(running, model(folder, name="pony"))
        running.file("/vae.safetensors", model(folder, name="vae"))
        yield running


@pytest.fixture(scope="module")
def downloads(shop, tmp_path_factory) -> Iterator[Downloads]:
    found = make_downloads(tmp_path_factory.mktemp("data"), shop)
    found.start()
    yield found
    found.close()


@pytest.fixture(scope="module")
def client(downloads, tmp_path_factory) -> Iterator[TestClient]:
    service = make_service(tmp_path_factory.mktemp("jobs"), puppet_inline())
    app = build_api(service, Flags(nowebui=True), downloads=downloads)
    with TestClient(app, base_url=HOST, raise_server_exceptions=False) as found:
        yield found
    service.store.close()


WISHES = {
    "a file of a repository": {"repo": REPO, "file": "a.safetensors"},
    "a version of Civitai": {"civitai_version": 70},
    "a file of that version": {"civitai_version": 70, "civitai_file": 700, "name": "mine.safetensors", "kind": "VAE"},
}


@pytest.mark.parametrize("wish", WISHES)
def test_add_and_see(client, downloads, wish):
    answer = client.post("/atelier/downloads", json=WISHES[wish])
    assert answer.status_code == 200, answer.text
    report = ended(downloads, answer.json()["id"])
    assert report["state"] == "done", report
    assert report["id"] in [r["id"] for r in client.get("/atelier/downloads").json()["downloads"]]
    again = client.post("/atelier/downloads", json=WISHES[wish])
    assert again.status_code == 422
    assert "You have it already" in again.json()["detail"]


def test_act_and_clear(client, downloads, shop):
    shop.served["/vae.safetensors"].pause = 0.2
    entry = client.post("/atelier/downloads", json={"url": f"{shop.url}/vae.safetensors?secret=1"}).json()["id"]
    assert client.post(f"/atelier/downloads/{entry}/pause").json()["state"] == "paused"
    assert client.post(f"/atelier/downloads/{entry}/resume").json()["state"] in ("queued", "running")
    assert client.post(f"/atelier/downloads/{entry}/cancel").json()["state"] == "cancelled"
    assert "secret" not in client.get("/atelier/downloads").text
    refused = client.post(f"/atelier/downloads/{entry}/pause")
    assert (refused.status_code, refused.json()["error"]) == (422, "InputError")
    assert "is cancelled: it cannot be paused" in refused.json()["detail"]
    unknown = client.post(f"/atelier/downloads/{entry}/stop")
    assert (unknown.status_code, unknown.json()["error"]) == (422, "UnknownName")
    assert client.post("/atelier/downloads/nothing/pause").status_code == 404
    assert client.post("/atelier/downloads/clear").json() == {"downloads": []}


BAD = {
    "nothing": ({}, "none of them was given"),
    "two ways": ({"url": "https://h/a", "repo": REPO}, "url, repo was given"),
    "no address": ({"url": "C:\\a.safetensors"}, "must begin with https://"),
    "another kind": ({"url": "https://h/a.safetensors", "kind": "Checkpoint"}, "kind"),
    "a path as kind": ({"repo": REPO, "file": "a.safetensors", "kind": "../.."}, "is not known"),
    "a path as name": ({"repo": REPO, "file": "a.safetensors", "name": "../../a.safetensors"}, "plain file name"),
    "another suffix": ({"repo": REPO, "file": "a.safetensors", "name": "a.exe"}, "ends with one of"),
    "a file that is not there": ({"repo": REPO, "file": "../a.safetensors"}, "has no such file"),
    "no repository": ({"repo": "http://127.0.0.1"}, "must look like owner/name"),
    "a long revision": ({"repo": REPO, "revision": "x" * 9000}, "must be a web address"),
    "a version of 0": ({"civitai_version": 0}, "from 1 on"),
    "a version of text": ({"civitai_version": "x"}, "civitai_version"),
    "true as version": ({"civitai_version": True}, "must be a number, not true or false"),
    "an unknown entry": ({"entry": "sd16"}, "Nearest: sd15"),
    "a list": ([], "body"),
    "text": ("x", "body"),
    "half a surrogate": ({"url": "\ud800"}, "half of a surrogate pair"),
    "a number as address": ({"url": 5}, "must be text"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_wishes_are_sentences(client, case):
    body, words = BAD[case]
    answer = client.post("/atelier/downloads", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]
    assert len(answer.json()["detail"]) < 400


def test_search(client):
    assert [f["id"] for f in client.get(f"/atelier/search?site=huggingface&query={REPO}").json()["found"]] == [REPO]
    found = client.get("/atelier/search?site=civitai&query=pony").json()["found"]
    assert found[0]["versions"][0]["id"] == 70
    files = client.get(f"/atelier/search/huggingface?repo={REPO}").json()["files"]
    assert [(f["path"], f["kind"]) for f in files] == [
        ("a.safetensors", "Stable-diffusion"),
        ("b-lora.safetensors", "Lora"),
    ]
    assert client.get("/atelier/search/civitai/7").json()["title"] == "Pony"


def test_by_hash(client, shop):
    digest = sha256(shop.served["/store/pony"].data)
    assert client.get(f"/atelier/search/civitai/by-hash/{digest}").json()["id"] == 70
    assert client.get("/atelier/search/civitai/by-hash/xyz").status_code == 422
    missing = client.get(f"/atelier/search/civitai/by-hash/{'0' * 64}")
    assert (missing.status_code, missing.json()["error"]) == (502, "RemoteError")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("site=other&query=x", "other"),
        ("site=civitai&query=", "1 to 200 characters"),
        ("site=civitai", "query is required"),
        ("query=x", "site is required"),
    ],
)
def test_wrong_searches_are_sentences(client, query, words):
    answer = client.get(f"/atelier/search?{query}")
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_offline_is_a_sentence(client, downloads, shop):
    settings = downloads._settings
    before = settings.current
    settings.current = before.changed({"huggingface_endpoint": "http://127.0.0.1:9"})
    answer = client.get("/atelier/search?site=huggingface&query=x")
    settings.current = before
    assert (answer.status_code, answer.json()["error"]) == (502, "RemoteError")
    assert "Check that this machine is online" in answer.json()["detail"]
    assert client.get("/atelier/catalogue").status_code == 200


def test_the_start_set(client):
    found = client.get("/atelier/catalogue").json()
    assert {"kind": "Lora", "label": "LoRA"} in found["kinds"]
    entry = next(model for model in found["models"] if model["id"] == "sdxl-base")
    assert (entry["here"], entry["gigabytes"], entry["kind_label"]) == (False, 6.94, "Checkpoint")
    assert entry["licence"] and entry["page"].startswith("https://huggingface.co/")


def test_tokens_go_in_and_never_come_out(client, downloads, shop):
    answer = client.post("/atelier/tokens", json={"site": HUGGING_FACE, "token": "hf_secret"})
    assert answer.json()[HUGGING_FACE] == {"label": "Hugging Face", "host": shop.url, "token": "kept"}
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        if "get" in methods:
            assert "hf_secret" not in client.get(path.replace("{repo}", REPO)).text, path
    assert "hf_secret" not in repr(downloads.tokens.get(HUGGING_FACE, shop.url))
    for body in (
        {"site": HUGGING_FACE, "token": "hf secret"},
        {"site": "other", "token": "hf_secret"},
        {"token": "hf_secret"},
    ):
        refused = client.post("/atelier/tokens", json=body)
        assert refused.status_code == 422
        assert "secret" not in refused.text
    assert (
        client.post("/atelier/tokens", json={"site": HUGGING_FACE, "token": ""}).json()[HUGGING_FACE]["token"] is None
    )


def test_wrong_endpoints_are_refused_when_set(client):
    answer = client.post("/sdapi/v1/options", json={"huggingface_endpoint": "file:///etc"})
    assert answer.status_code == 422
    assert "huggingface_endpoint is" in answer.json()["detail"]


def test_other_sites_may_not_ask(client):
    """A page of another site cannot make the browser of this user fetch things."""
    answer = client.post("/atelier/downloads", json={"entry": "sd15"}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


def test_an_entry_brings_its_parts(client, downloads, shop, tmp_path):
    entries = {starter.id: starter for starter in downloads.finder.starters}
    wanted = [entries["z-image-turbo"], *(entries[part] for part in entries["z-image-turbo"].needs)]
    assert {starter.kind for starter in wanted} == {"diffusion_models", "text_encoder", "VAE", "tokenizers"}
    for repo in {starter.repo for starter in wanted}:
        own = [starter.file or "" for starter in wanted if starter.repo == repo]
        serve_repo(
            shop,
            repo,
            {f: b'{"a": 1}' if f.endswith(".json") else model(tmp_path, name=f[-20:].replace("/", "")) for f in own},
        )
    answer = client.post("/atelier/downloads", json={"entry": "z-image-turbo", "with_parts": True}).json()
    for report in (answer, *answer["parts"]):
        assert ended(downloads, report["id"])["state"] == "done"
    assert all(downloads.has(starter.kind, starter.saved_as) for starter in wanted)
    assert downloads.has("tokenizers", "qwen3_4b")
    assert (downloads._paths.own("tokenizers") / "qwen3_4b" / "tokenizer.json").read_bytes() == b'{"a": 1}'
    again = client.post("/atelier/downloads", json={"entry": "qwen3-4b-tokenizer"})
    assert 'You have it already: "qwen3_4b" lies in "tokenizers"' in again.json()["detail"]
    models = {m["id"]: m for m in client.get("/atelier/catalogue").json()["models"]}
    assert all(models[starter.id]["here"] for starter in wanted)


def test_every_part_of_the_start_set_is_an_entry(client):
    models = {m["id"]: m for m in client.get("/atelier/catalogue").json()["models"]}
    assert all(part in models for m in models.values() for part in m["needs"])
    refused = client.post("/atelier/downloads", json={"repo": REPO, "file": "a.safetensors", "kind": "tokenizers"})
    assert "tokenizers" in refused.json()["detail"]
    assert refused.status_code == 422
