"""What the route of the tab PNG Info answers."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from modules.api.errors import add_error_handlers
from modules.api.png_info import SHOWN, build_png_info
from tests.images.metadata.pictures import exif, png

INFOTEXT = "a fox\nNegative prompt: blue\nSteps: 20, Sampler: Euler a, Seed: 5, Size: 512x768, Version: v1.10.1"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = FastAPI()
    add_error_handlers(app)
    app.include_router(build_png_info())
    with TestClient(app, raise_server_exceptions=False) as found:
        yield found


def test_a_picture_and_its_texts(client):
    found = client.post("/atelier/png-info", content=png(parameters=INFOTEXT, other="x" * (SHOWN + 5))).json()
    assert (found["program"], found["infotext"], found["prompt"]) == ("AUTOMATIC1111", INFOTEXT, "a fox")
    assert (found["negative_prompt"], found["fields"]["Seed"], found["unmapped"]) == ("blue", "5", [])
    assert (found["format"], found["width"], found["height"]) == ("PNG", 32, 32)
    assert found["chunks"]["other"].endswith(f"x… ({SHOWN + 5} letters in all)")


def test_a_picture_without_texts(client):
    found = client.post("/atelier/png-info", content=exif("WEBP")).json()
    assert (found["program"], found["infotext"], found["chunks"], found["fields"]) == ("", "", {}, {})


@pytest.mark.parametrize("content", [b"", b"x", b"<svg/>", png(parameters=INFOTEXT)[:120]])
def test_what_is_no_picture(client, content):
    answer = client.post("/atelier/png-info", content=content)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(("image is no whole picture", "image is empty"))
