"""The routes for selecting and for what preprocessors need."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from modules.api.app import build_api
from modules.core.flags import Flags
from modules.requests.catalogue import SHIPPED, Catalogue
from tests.api.conftest import HOST
from tests.jobs.helpers import make_service, puppet_inline
from tests.library.downloads.conftest import ended, make_downloads
from tests.library.servers import serve_repo, site


def picture(width: int = 40, height: int = 30) -> str:
    image = Image.new("RGB", (width, height), "blue")
    image.paste("red", (10, 10, 20, 20))
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_a_mask_comes_back(client):
    body = {"image": picture(), "method": "Similar colours", "points": [[15, 15]]}
    answer = client.post("/atelier/select", json=body)
    assert answer.status_code == 200, answer.text
    mask = np.array(Image.open(io.BytesIO(base64.b64decode(answer.json()["mask"]))))
    wanted = np.zeros((30, 40), np.uint8)
    wanted[10:20, 10:20] = 255
    assert np.array_equal(mask, wanted) and answer.json()["share"] == pytest.approx(100 / 1200)
    upload = client.post("/atelier/uploads", content=base64.b64decode(picture())).json()["sha256"]
    again = client.post("/atelier/select", json={**body, "image": "", "upload": upload})
    assert again.json() == answer.json()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "one of image (base64) and upload"),
        ({"image": "no", "points": [[1, 1]]}, 422, "image"),
        ({"image": picture()}, 422, "send points, a box or text"),
        ({"image": picture(), "points": [["a", 1]]}, 422, "must be a number"),
        ({"image": picture(), "points": [[1, 1]]}, 422, "mobile_sam.pt"),
        ({"upload": "0" * 64, "points": [[1, 1]]}, 422, "no longer kept"),
    ],
)
def test_wrong_selections_are_told(client, body, status, words):
    answer = client.post("/atelier/select", json=body)
    assert answer.status_code == status and words in answer.json()["detail"]


def test_ways_and_needs_are_listed(client):
    ways = {way["name"]: way for way in client.get("/atelier/select").json()["methods"]}
    assert list(ways) == ["Segment Anything", "GrabCut", "Similar colours"]
    assert [file["file"] for file in ways["Segment Anything"]["needs"]["text"]] == [
        "mobile_sam.pt",
        "grounding-dino-tiny",
    ]
    assert ways["GrabCut"]["needs"] == {"click": [], "text": []}
    listed = {entry["name"]: entry for entry in client.get("/atelier/preprocessors").json()["preprocessors"]}
    assert listed["canny"]["missing"] == [] and listed["canny"]["threshold_a"]["default"] == 100
    assert listed["hed"]["missing"][0]["source"].endswith("lllyasviel/Annotators/resolve/main/ControlNetHED.pth")


def test_weights_are_fetched_when_asked_for(tmp_path):
    config, weights = b'{"model_type": "grounding-dino"}', (8).to_bytes(8, "little") + b"{}      "
    with site() as shop:
        serve_repo(shop, "dhkim2810/MobileSAM", {"mobile_sam.pt": b"\x80\x02}q\x00."})
        serve_repo(
            shop,
            "IDEA-Research/grounding-dino-tiny",
            {
                "config.json": config,
                "model.safetensors": weights,
                "pytorch_model.bin": b"\x80",
                "README.md": b"# hi",
                "vocab.txt": b"a",
            },
        )
        serve_repo(shop, "lllyasviel/Annotators", {"ControlNetHED.pth": b"\x80\x02}q\x00."})
        downloads = make_downloads(tmp_path / "data", shop)
        service = make_service(tmp_path / "data", puppet_inline())
        service.catalogue = Catalogue.model_validate_json(SHIPPED.read_bytes())
        downloads.start()
        with TestClient(build_api(service, Flags(nowebui=True), downloads=downloads), base_url=HOST) as client:
            for route in ("/atelier/preprocessors/softedge_hed/download", "/atelier/select/text/download"):
                answer = client.post(route)
                assert answer.status_code == 200, answer.text
                for report in answer.json()["downloads"]:
                    assert ended(downloads, report["id"])["state"] == "done"
                assert client.post(route).json()["downloads"] == []
            assert client.get("/atelier/select").json()["methods"][0]["needs"]["text"] == []
            assert client.post("/atelier/select/smell/download").status_code == 422
            assert client.post("/atelier/preprocessors/hedd/download").status_code == 422
        downloads.close()
        service.store.close()
    home = tmp_path / "data" / "models" / "ControlNetPreprocessor"
    assert sorted(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()) == [
        "ControlNetHED.pth",
        "grounding-dino-tiny/config.json",
        "grounding-dino-tiny/model.safetensors",
        "grounding-dino-tiny/vocab.txt",
        "mobile_sam.pt",
    ]
