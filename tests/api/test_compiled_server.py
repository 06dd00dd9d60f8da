"""The program as it comes on a computer without a GPU: through OpenVINO, converted at the first start alone."""

import base64
import io

from PIL import Image

from tests.server import Server

REQUEST = {
    "prompt": "a big red mushroom in a meadow",
    "steps": 4,
    "width": 128,
    "height": 128,
    "seed": 3,
    "cfg_scale": 3,
}


def drawn(server: Server) -> bytes:
    answer = server.http.post("/sdapi/v1/txt2img", json=REQUEST, timeout=300)
    assert answer.status_code == 200, answer.text
    return base64.b64decode(answer.json()["images"][0])


def test_draws_and_converts_once(tmp_path):
    with Server(tmp_path / "data", "--nowebui", exact=False) as server:
        first = Image.open(io.BytesIO(drawn(server)))
        first.load()
        assert "OpenVINO computes on the CPU" in server.log
    kept = tmp_path / "data" / "cache" / "openvino"
    made = {path.name: path.stat().st_mtime_ns for path in kept.glob("*/model.bin")}
    folders = sorted(path.name.rsplit("-", 1)[0] for path in kept.iterdir())
    assert folders == ["U-Net", "decoder", "text encoder"]
    with Server(tmp_path / "data", "--nowebui", exact=False) as server:
        second = Image.open(io.BytesIO(drawn(server)))
        assert second.tobytes() == first.tobytes()
    assert {path.name: path.stat().st_mtime_ns for path in kept.glob("*/model.bin")} == made
