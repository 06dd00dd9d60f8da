"""The routes for finished pictures, over the real engine."""

import base64
import io

import pytest
from PIL import Image

from tests.engine.test_extras import png
from tests.upscale.test_faces import write_tagger
from tests.upscale.tiny_upscalers import write_compact

SINGLE, BATCH = "/sdapi/v1/extra-single-image", "/sdapi/v1/extra-batch-images"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def decoded(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


@pytest.fixture(scope="module", autouse=True)
def upscaler(service):
    write_compact(service.paths.data / "models" / "RealESRGAN", "RealESRGAN_x2plus.safetensors")


def test_single_image(client):
    body = {"image": "data:image/png;base64," + encoded(png()), "upscaler_1": "R-ESRGAN 2x+", "upscaling_resize": 3}
    answer = client.post(SINGLE, json=body)
    assert answer.status_code == 200, answer.text[:300]
    assert decoded(answer.json()["image"]).size == (120, 72)
    assert answer.json()["html_info"] == "<p>Postprocess upscale by: 3, Postprocess upscaler: R-ESRGAN 2x+</p>"
    assert client.post(SINGLE, json={**body, "show_extras_results": False}).json()["image"] == ""


def test_batch_images(client, service):
    files = [{"data": encoded(png(seed=i)), "name": f"{i}.png"} for i in range(2)]
    answer = client.post(BATCH, json={"imageList": files, "upscaler_1": "Lanczos", "resize_mode": 1})
    assert [decoded(image).size for image in answer.json()["images"]] == [(512, 512)] * 2
    assert not (service.paths.data / "outputs" / "extras-images").exists()  # A1111's API saves none of these


def test_lists(client):
    upscalers = client.get("/sdapi/v1/upscalers").json()
    assert [entry["name"] for entry in upscalers[:3]] == ["None", "Lanczos", "Nearest"]
    found = next(entry for entry in upscalers if entry["name"] == "R-ESRGAN 2x+")
    assert set(found) == {"name", "model_name", "model_path", "model_url", "scale"} and found["scale"] == 2
    assert [entry["name"] for entry in client.get("/sdapi/v1/face-restorers").json()] == ["CodeFormer", "GFPGAN"]
    assert len(client.get("/sdapi/v1/latent-upscale-modes").json()) == 6
    assert [entry["name"] for entry in client.get("/sdapi/v1/realesrgan-models").json()] == ["R-ESRGAN 2x+"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"image": "no base64!"}, "image is not valid base64"),
        ({"image": encoded(b"<svg/>")}, "image is no whole picture"),
        ({"image": ""}, "image is empty"),
        ({"upscaler_1": "R-ESRGAN 3x"}, "upscaler_1 .* is not known. Nearest: R-ESRGAN 2x"),
        ({"upscaler_1": "Lanczos", "upscaler_2": "x", "extras_upscaler_2_visibility": 1}, "upscaler_2"),
        ({"resize_mode": 2}, "resize_mode is 2"),
        ({"upscaling_resize": 0}, "upscaling_resize is 0"),
        ({"upscaling_resize": 1e9}, "at most 16"),
        ({"upscaling_resize_w": 10**6, "resize_mode": 1}, "at most 16384"),
        ({"gfpgan_visibility": 1}, "put it into models/GFPGAN"),
        ({"codeformer_visibility": 1}, "codeformer_visibility needs"),
        ({"gfpgan_visibility": -1}, "at least 0"),
        ({"imageList": []}, "imageList holds 0"),
        ({"imageList": [{"data": "x"}]}, "imageList.0.name is required"),
    ],
)
def test_wrong_input(client, values, words):
    route = BATCH if "imageList" in values else SINGLE
    answer = client.post(route, json={"image": encoded(png()), **values})
    assert answer.status_code == 422, answer.text[:300]
    import re

    assert re.search(words, answer.json()["detail"]), answer.json()["detail"]


def test_training_sets(client):
    wide = io.BytesIO()
    Image.new("RGB", (300, 100), "teal").save(wide, "PNG")
    body = {"image": encoded(wide.getvalue()), "upscaling_resize_w": 100, "upscaling_resize_h": 100, "resize_mode": 1}
    answer = client.post(SINGLE, json={**body, "split_oversized": {}, "flipped_copies": ["Vertical"]}).json()
    assert [decoded(one).size for one in answer["images"]] == [(100, 100)] * len(answer["images"])
    assert len(answer["images"]) >= 6 and answer["image"] == answer["images"][0]
    cut = client.post(SINGLE, json={**body, "focal_crop": {"debug": True}}).json()
    assert decoded(cut["image"]).size == (100, 100) and len(cut["images"]) == 2
    sized = client.post(SINGLE, json={**body, "autosized_crop": {"mindim": 64, "maxdim": 192}}).json()
    assert decoded(sized["image"]).size == (192, 64)
    wrong = client.post(SINGLE, json={**body, "focal_crop": {"face_weight": 2}})
    assert wrong.status_code == 422 and "focal_crop.face_weight is 2" in wrong.json()["detail"]


def test_a_folder_of_the_server(client, service):
    folder = service.paths.data / "mine"
    folder.mkdir()
    (folder / "a.png").write_bytes(png())
    out = service.paths.data / "outputs" / "made"
    answer = client.post(BATCH, json={"input_dir": "mine", "output_dir": str(out), "flipped_copies": ["Both"]})
    assert answer.status_code == 200, answer.text[:300]
    assert answer.json()["images"] == []
    assert sorted(path.name for path in out.iterdir()) == ["a.both.png", "a.png"]


def test_interrogation(client, service):
    route, picture = "/sdapi/v1/interrogate", {"image": encoded(png())}
    for model, words in (("clip", "models/BLIP"), ("deepdanbooru", "models/torch_deepdanbooru")):
        answer = client.post(route, json={**picture, "model": model})
        assert answer.status_code == 422 and words in answer.json()["detail"]
    assert client.post(route, json={**picture, "model": "gpt"}).status_code == 404
    assert client.post(route, json={"model": "clip"}).json()["detail"].startswith("image is empty")
    write_tagger(service.paths.data / "models" / "torch_deepdanbooru" / "wd")
    tags = client.post(route, json={"image": encoded(solid("white")), "model": "deepdanbooru"}).json()
    assert tags == {"caption": "green, red hair, very blue \\(sky\\)"}
    told = client.post(SINGLE, json={"image": encoded(solid("red")), "tags": True}).json()
    assert told["captions"] == ["red hair"]


def solid(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(buffer, "PNG")
    return buffer.getvalue()
