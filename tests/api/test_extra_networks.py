"""A1111's routes about models with cards, and what they do not give away."""

import base64
import json
import re

import pytest
from PIL import Image

from modules.images.encode import encode_png
from tests.library.files import lora_shapes, write_model

URL = "/sd_extra_networks"


@pytest.fixture(scope="module")
def folder(service):
    folder = service.paths.own("Lora") / "routes"
    cover = base64.b64encode(encode_png(Image.new("RGB", (8, 8), "blue"), None)).decode()
    told = {
        "ss_output_name": "fox",
        "ssmd_cover_images": json.dumps([cover, "no picture", base64.b64encode(b"x").decode()]),
    }
    write_model(folder / "fox.safetensors", lora_shapes(), told)
    write_model(folder / "bare.safetensors", lora_shapes())
    (folder / "fox.png").write_bytes(encode_png(Image.new("RGB", (8, 8), "red"), None))
    (folder / "secret.png").write_bytes(encode_png(Image.new("RGB", (8, 8), "green"), None))
    (folder.parent.parent / "secret.png").write_bytes((folder / "secret.png").read_bytes())
    return folder


def test_preview(client, folder):
    for name in (str(folder / "fox.png"), "fox.png"):
        answer = client.get(f"{URL}/thumb", params={"filename": name})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), name
        assert answer.content == (folder / "fox.png").read_bytes()


def test_F2_nothing_else_is_shown(client, folder):
    (folder / "link.png").symlink_to("/etc/passwd")
    write_model(folder / "link.safetensors", lora_shapes())
    names = (
        *("", "/etc/passwd", "../../secret.png", str(folder / "secret.png"), f"{folder}/../../secret.png"),
        *(f"{folder}/../routes/fox.png", "none.png", str(folder / "fox.safetensors"), "fox.png\0", "//fox.png", "file:fox.png"),
    )  # fmt: skip
    for name in names:
        answer = client.get(f"{URL}/thumb", params={"filename": name})
        assert answer.status_code == 403, (name, answer.status_code)
    linked = client.get(f"{URL}/thumb", params={"filename": str(folder / "link.png")})
    assert linked.status_code in (403, 404) and b"root:" not in linked.content


def test_covers(client, folder):
    answer = client.get(f"{URL}/cover-images", params={"page": "lora", "item": "fox"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    for index, item in ((1, "fox"), (2, "fox"), (3, "fox"), (0, "bare"), (0, "nothing")):
        answer = client.get(f"{URL}/cover-images", params={"page": "lora", "item": item, "index": index})
        assert answer.status_code == 404 and answer.json()["detail"].endswith(".")
    assert client.get(f"{URL}/cover-images", params={"page": "x", "item": "fox"}).status_code == 404
    assert client.get(f"{URL}/cover-images", params={"page": "lora", "item": "fox", "index": -1}).status_code == 422


def test_metadata(client, folder):
    told = client.get(f"{URL}/metadata", params={"page": "lora", "item": "fox"}).json()
    assert json.loads(told["metadata"])["ss_output_name"] == "fox" and "ssmd_cover" not in told["metadata"]
    for page, item in (("lora", "bare"), ("lora", "nothing"), ("nothing", "fox"), ("textual_inversion", "fox")):
        assert client.get(f"{URL}/metadata", params={"page": page, "item": item}).json() == {}


def test_a_single_card(client, folder):
    ask = {"page": "lora", "tabname": 'txt2img" onclick="x', "name": "fox"}
    html = client.get(f"{URL}/get-single-card", params=ask).json()["html"]
    assert (
        'data-name="fox" data-tab="txt2img&quot; onclick=&quot;x"' in html and '<span class="name">fox</span>' in html
    )
    (address,) = re.findall(r'src="([^"]+)"', html)
    assert client.get(f"/{address}").content == (folder / "fox.png").read_bytes()
    assert "<img" not in client.get(f"{URL}/get-single-card", params={"page": "lora", "name": "bare"}).json()["html"]
    answer = client.get(f"{URL}/get-single-card", params={"page": "lora", "name": "nothing"})
    assert answer.status_code == 404 and answer.json()["detail"].endswith(".")
