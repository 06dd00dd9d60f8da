"""The ControlNet extension's routes on a real server."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

SQUARE = np.zeros((64, 64, 3), np.uint8)
SQUARE[16:48, 16:48] = 255


def encoded(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def decoded(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


@pytest.fixture(scope="module")
def client(server):
    return server


def test_what_there_is(client):
    assert client.get("/controlnet/version").json() == {"version": 3}
    assert client.get("/controlnet/settings").json() == {"control_net_unit_count": 3}
    assert isinstance(client.get("/controlnet/model_list?update=true").json()["model_list"], list)
    names = client.get("/controlnet/module_list").json()
    labels = client.get("/controlnet/module_list?alias_names=true").json()
    assert len(names["module_list"]) == len(labels["module_list"]) == len(labels["module_detail"])
    assert names["module_detail"]["canny"]["sliders"][1] == {
        "name": "Low Threshold", "value": 100, "min": 1, "max": 255, "step": 1,
    }  # fmt: skip
    types = client.get("/controlnet/control_types").json()["control_types"]
    assert types["Canny"]["default_option"] == "canny" and "canny" in types["Canny"]["module_list"]
    assert "invert (from white bg & black line)" in types["Lineart"]["module_list"]
    assert types["All"]["module_list"] == labels["module_list"]


def test_detect(client):
    answer = client.post(
        "/controlnet/detect",
        json={
            "controlnet_module": "canny",
            "controlnet_input_images": [encoded(SQUARE)],
            "controlnet_processor_res": 64,
        },
    )
    assert answer.status_code == 200, answer.text
    found = decoded(answer.json()["images"][0])
    assert answer.json()["info"] == "Success" and set(np.unique(found)) == {0, 255}
    for body, status in (
        ({"controlnet_module": "cany", "controlnet_input_images": [encoded(SQUARE)]}, 422),
        ({"controlnet_module": "canny"}, 422),
        ({"controlnet_module": "inpaint_only", "controlnet_input_images": [encoded(SQUARE)]}, 422),
        ({"controlnet_module": "canny", "controlnet_input_images": ["%"]}, 422),
    ):
        wrong = client.post("/controlnet/detect", json=body)
        assert wrong.status_code == status and len(wrong.json()["detail"]) > 20, wrong.text


def test_poses_are_drawn(client):
    body = [0.0] * 54
    body[3:6], body[6:9] = [32.0, 16.0, 1.0], [16.0, 32.0, 1.0]
    pose = {"people": [{"pose_keypoints_2d": body}], "canvas_width": 64, "canvas_height": 48}
    image = decoded(client.post("/controlnet/render_openpose_json", json=[pose]).json()["images"][0])
    assert image.shape == (48, 64, 3) and image[16, 32].any() and image[24, 24].any() and not image[40, 60].any()
    wrong = client.post("/controlnet/render_openpose_json", json=[{**pose, "canvas_width": 0}])
    assert wrong.status_code == 422 and "canvas_width" in wrong.json()["detail"]
