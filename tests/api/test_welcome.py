"""What greets at the first start: facts of this machine, put away once, another program's folder taken over."""

from dataclasses import replace

import psutil
import pytest

from modules.api.welcome import hardware, uses
from modules.core import repairs
from modules.core.flags import Flags
from modules.core.policy import POLICIES
from modules.requests.catalogue import HardwareEntry
from tests.tiny import write_tiny

CARD = HardwareEntry(gpu="NVIDIA H200", memory=140 * 2**30, precision="float16")


@pytest.fixture
def roots(service):
    """The setting, as it was before at the end."""
    yield lambda: service.settings.current.system.take_over_roots
    service.change_options({"take_over_roots": ""})


def test_tells_what_was_found_until_put_away(client, service):
    found = client.get("/atelier/welcome").json()
    assert found["show"] and found["ready"] and found["folders"] and found["downloads"]
    assert found["hardware"][0] == "GPU: none is used"
    assert f"threads: {psutil.cpu_count()}, memory: " in found["hardware"][1]
    assert found["uses"] == ["PyTorch computes on the processor in float32."]
    told = {one["name"]: one["starter"] for one in found["checkpoints"]}
    assert told["tiny.safetensors"] is False and told["sub/other.safetensors"] is False
    assert list(told) == [one.name for one in service.checkpoints.list()]
    assert client.post("/atelier/welcome/dismiss").json() == {}
    assert client.get("/atelier/welcome").json()["show"] is False
    assert client.get("/atelier/welcome", params={"again": True}).json()["hardware"] == found["hardware"]


def test_C6_tells_what_was_found_damaged_until_it_was_read(client, service):
    for _ in range(2):
        repairs.tell(service.paths.settings, '"config.json" cannot\nbe read.')
    assert client.get("/atelier/welcome").json()["repairs"] == ['"config.json" cannot be read.']
    assert client.post("/atelier/welcome/repairs/forget").json() == {}
    assert client.get("/atelier/welcome").json()["repairs"] == []


def test_a_gpu_is_told_with_what_its_memory_is_used_for():
    assert hardware(CARD)[0] == "GPU: NVIDIA H200, memory: 140 GB"
    assert len(hardware(None)) == 1  # the engine has not told yet
    assert uses(CARD, Flags())[0] == "PyTorch computes on the GPU in float16."
    kept = {flags: uses(CARD, Flags(memory=flags))[1] for flags in ((), ("medvram",), ("lowvram",))}
    assert "whole if it fits" in kept[()] and "--medvram" in kept["medvram",] and "--lowvram" in kept["lowvram",]
    assert uses(HardwareEntry(openvino=True, precision="bf16"), Flags()) == [
        "OpenVINO computes on the processor in bf16."
    ]


def test_a_folder_is_taken_over_once(client, tmp_path, roots):
    write_tiny(tmp_path / "webui" / "models" / "Stable-diffusion" / "theirs.safetensors")
    for _ in range(2):
        answer = client.post("/atelier/welcome/take-over", json={"folder": f" {tmp_path / 'webui'} "})
        assert (answer.status_code, answer.json()) == (200, {"checkpoints": 1})
    assert roots() == str(tmp_path / "webui")
    (tmp_path / "comfy" / "models" / "checkpoints").mkdir(parents=True)
    assert (
        client.post("/atelier/welcome/take-over", json={"folder": str(tmp_path / "comfy")}).json()["checkpoints"] == 0
    )
    assert roots() == f"{tmp_path / 'webui'}\n{tmp_path / 'comfy'}"


def test_what_is_no_such_folder_is_refused(client, service, tmp_path, roots, monkeypatch):
    for folder, part in (
        (str(tmp_path), f'"{tmp_path}" is no A1111, Forge or ComfyUI'),
        ("", "Name one folder"),
        ("/one\n/two", "Name one folder"),
    ):
        answer = client.post("/atelier/welcome/take-over", json={"folder": folder})
        assert answer.status_code == 422 and part in answer.json()["detail"]
    monkeypatch.setattr(service, "policy", replace(POLICIES["tunnel"]))
    answer = client.post("/atelier/welcome/take-over", json={"folder": str(tmp_path)})
    assert answer.status_code == 403 and "tunnel" in answer.json()["detail"]
    assert client.get("/atelier/welcome", params={"again": True}).json()["folders"] is False
    assert roots() == ""
