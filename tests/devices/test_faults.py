"""GPUs that are not there, not usable, or lost: a sentence, and the CPU or another engine."""

import logging

import pytest
import torch

from modules.core.errors import EngineDied
from modules.core.paths import Paths
from modules.devices.choice import choose_compute
from modules.devices.faults import gpu_lost, gpu_trouble
from modules.engine.build import build_engine
from modules.requests.events import Done, ImageReady
from modules.requests.txt2img import Txt2ImgRequest
from tests.engine.test_families import run
from tests.tiny import write_tiny

ASSERT = "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported"


@pytest.fixture
def engine(tmp_path):
    write_tiny(tmp_path / "models" / "Stable-diffusion" / "tiny.safetensors")
    return build_engine(paths=Paths(data=tmp_path), use_cpu=True)


@pytest.fixture
def driver(tmp_path):
    """A machine with NVIDIA's driver."""
    path = tmp_path / "version"
    path.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  390.157")
    return path


def no_gpu(monkeypatch, cuda: str | None) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)


def test_R6_no_gpu_is_no_fault(monkeypatch, tmp_path, caplog):
    no_gpu(monkeypatch, "13.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_trouble(tmp_path / "none") is None
    assert choose_compute().device.type == "cpu"
    assert not caplog.records


@pytest.mark.parametrize(("cuda", "words"), [("13.0", "Update the driver"), (None, "build without CUDA")])
def test_R6_driver_too_old_for_the_wheel(monkeypatch, driver, cuda, words):
    no_gpu(monkeypatch, cuda)
    assert words in (gpu_trouble(driver) or "")


def test_R6_a_gpu_that_does_not_answer_leaves_the_cpu(monkeypatch, caplog):
    def fail(device):
        raise torch.AcceleratorError("CUDA error: unknown error\nmore")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    with caplog.at_level(logging.WARNING):
        compute = choose_compute()
    assert (compute.device.type, compute.dtype) == ("cpu", torch.float32)
    assert "The GPU does not answer (CUDA error: unknown error). The CPU computes instead" in caplog.text


@pytest.mark.parametrize(
    "error", [torch.AcceleratorError(ASSERT), RuntimeError("CUDA error: unspecified launch failure")]
)
def test_R4_what_ends_an_engine(error):
    assert "The GPU failed in the middle" in (gpu_lost(error) or "")


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes do not match"), torch.OutOfMemoryError("CUDA out of memory"), ValueError(ASSERT)]
)
def test_R4_what_does_not(error):
    assert gpu_lost(error) is None


def test_R4_an_engine_whose_gpu_is_lost_ends_with_a_sentence(engine, monkeypatch):
    def lost(order, tools, context):
        raise torch.AcceleratorError(ASSERT)

    with monkeypatch.context() as patch, pytest.raises(EngineDied, match="device-side assert triggered"):
        patch.setitem(engine._recipes, Txt2ImgRequest, lost)
        run(engine, "tiny")


def test_R1_out_of_memory_while_sampling_and_the_next_job_works(engine, monkeypatch):
    wanted = [event.data for event in run(engine, "tiny") if isinstance(event, ImageReady)]
    network = engine._tools.models.load("tiny").backbone
    calls = []

    def short(module, inputs):
        calls.append(module)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = network.register_forward_pre_hook(short)
    failed = run(engine, "tiny")[-1]
    handle.remove()
    assert failed.kind == "OutOfMemory"
    assert "smaller" in failed.message
    events = run(engine, "tiny")
    assert isinstance(events[-1], Done)
    assert [event.data for event in events if isinstance(event, ImageReady)] == wanted
