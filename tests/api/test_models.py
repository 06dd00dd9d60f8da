"""The routes that list the models on disk."""

import json
import os

import pytest

from modules.library.previews import MAX_PREVIEW
from tests.library.files import lora_shapes, write_model

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 50


@pytest.fixture(scope="module")
def loras(service):
    folder = service.paths.own("Lora")
    write_model(
        folder / "Fox.safetensors", lora_shapes(), {"ss_output_name": "reynard", "ss_tag_frequency": "x" * 9000}
    )
    write_model(folder / "sub" / "wolf.safetensors", lora_shapes(2048))
    (folder / "page.safetensors").write_bytes(b"<!DOCTYPE html>")
    (folder / "Fox.json").write_text(json.dumps({"activation text": "red fur", "description": "d", "notes": "n"}))
    (folder / "Fox.preview.png").write_bytes(PNG)
    os.mkfifo(folder / "pipe.safetensors")
    return folder


def listed(client, **values):
    answer = client.get("/atelier/models", params=values)
    assert answer.status_code == 200, answer.text
    return answer.json()


def entry(client, **values):
    (found,) = listed(client, **values)["models"]
    return client.get(f"/atelier/models/{found['id']}").json()


def test_a1111s_loras(client, loras):
    assert client.post("/sdapi/v1/refresh-loras").json() is None
    found = {lora["name"]: lora for lora in client.get("/sdapi/v1/loras").json()}
    assert list(found) == ["Fox", "starter-parchment", "wolf"]  # what cannot be used is not among them
    path = str(loras / "Fox.safetensors")
    assert found["Fox"] == {"name": "Fox", "alias": "reynard", "path": path, "metadata": {"ss_output_name": "reynard"}}
    assert found["wolf"]["alias"] == "wolf"


def test_a1111s_vaes(client, service):
    write_model(service.paths.own("VAE") / "sub" / "kl.safetensors", {"decoder.conv_in.weight": (512, 4, 3, 3)})
    assert client.post("/sdapi/v1/refresh-vae").status_code == 200
    path = str(service.paths.own("VAE") / "sub" / "kl.safetensors")
    assert client.get("/sdapi/v1/sd-vae").json() == [{"model_name": "kl.safetensors", "filename": path}]


def test_our_listing(client, loras):
    found = listed(client, kind="lora")
    assert (found["total"], found["offset"]) == (4, 0)
    assert [model["name"] for model in found["models"]] == [
        "Fox.safetensors",
        "page.safetensors",
        "starter-parchment.safetensors",
        "sub/wolf.safetensors",
    ]
    assert [m["name"] for m in listed(client, kind="Lora", offset=1, limit=1)["models"]] == ["page.safetensors"]
    assert listed(client, kind="Lora", offset=10**9)["models"] == []
    fox = entry(client, kind="Lora", search="fox")
    assert (fox["words"], fox["alias"], fox["family"], fox["role"]) == (["red fur"], "reynard", "SD1", "LoRA")
    assert (fox["description"], fox["notes"], fox["metadata"]) == ("d", "n", {"ss_output_name": "reynard"})
    assert fox["trouble"] is None
    assert str(loras) not in json.dumps(listed(client))
    assert "web page" in entry(client, kind="Lora", search="page")["trouble"]


def test_search_is_over_all_kinds(client, loras):
    client.get("/sdapi/v1/loras")  # reads them
    assert [model["name"] for model in listed(client, search="RED Fur")["models"]] == ["Fox.safetensors"]
    assert {model["kind"] for model in listed(client)["models"]} >= {"Lora", "Stable-diffusion"}
    assert listed(client, search="nothing like that")["total"] == 0


def test_preview(client, loras):
    url = entry(client, kind="Lora", search="fox")["preview"]
    answer = client.get(url)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, PNG, "image/png")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox"
    assert client.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert entry(client, kind="Lora", search="wolf")["preview"] is None


@pytest.mark.parametrize("what", ["a page", "a drawing that runs scripts", "a pipe", "huge", "gone", "nothing"])
def test_a_preview_that_is_none(client, loras, what):
    wolf = entry(client, kind="Lora", search="wolf")
    path = loras / "sub" / "wolf.png"
    if what == "a pipe":
        os.mkfifo(path)
    elif what == "huge":
        path.write_bytes(PNG)
        os.truncate(path, MAX_PREVIEW + 1)
    elif what != "nothing":
        path.write_bytes(b"<script>" if what == "a page" else b"<svg onload='alert(1)'>")
    listed(client, kind="Lora")
    path.unlink(missing_ok=True) if what == "gone" else None
    answer = client.get(f"/atelier/models/preview/{wolf['id']}")
    path.unlink(missing_ok=True)
    assert answer.status_code == 404
    assert "wolf" in answer.json()["detail"]
    assert str(loras) not in answer.text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "lorra"}, "Lora"),
        ({"kind": "../Lora"}, "kind"),
        ({"offset": -1}, "offset"),
        ({"offset": "x"}, "offset"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"search": "x" * 201}, "search"),
        ({"search": "a\0b"}, "search"),
    ],
)
def test_wrong_values(client, values, words):
    answer = client.get("/atelier/models", params=values)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("model_id", ["0", "-1", "x", "9" * 30, "999999", "..%2f..%2fetc", "1%00", "²"])
@pytest.mark.parametrize("route", ["/atelier/models/", "/atelier/models/preview/"])
def test_unknown_ids(client, route, model_id):
    answer = client.get(route + model_id)
    assert answer.status_code == 404
    assert answer.json()["detail"]


def test_a_model_of_a_folder_that_is_not_ours_any_more(client, service, tmp_path):
    write_model(tmp_path / "x.safetensors", lora_shapes())
    row = service.library.index.refresh("Lora", tmp_path, (".safetensors",))["x.safetensors"]
    assert client.get(f"/atelier/models/{row.id}").status_code == 404


def test_a1111s_embeddings_and_hypernetworks(client, service):
    folder = service.paths.own("embeddings")
    write_model(folder / "fits.safetensors", {"emb_params": (2, 64)})
    write_model(folder / "other.safetensors", {"emb_params": (1, 768)})
    (folder / "broken.pt").write_bytes(b"no pickle")
    nothing = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None}
    assert client.get("/sdapi/v1/embeddings").json() == {
        "loaded": {"fits": {**nothing, "shape": 64, "vectors": 2}},
        "skipped": {
            "other": {**nothing, "shape": 768, "vectors": 1},
            "starter-mascot": {**nothing, "shape": 128, "vectors": 2},
        },
    }
    assert client.post("/sdapi/v1/refresh-embeddings").json() == {}
    hyper = service.paths.own("hypernetworks") / "style.pt"
    hyper.parent.mkdir(parents=True, exist_ok=True)
    hyper.write_bytes(b"\x80\x02")
    assert {"name": "style", "path": str(hyper)} in client.get("/sdapi/v1/hypernetworks").json()
