"""`--compile` and `--fuse-projections` from the engine's builder to the picture, and what the user is told."""

import os

import numpy as np
import pytest
import torch

from modules.core.flags import parse_flags
from modules.core.paths import Paths
from modules.engine.build import build_engine
from modules.engine.context import Context
from modules.engine.speeding import Speeding, tidy
from modules.jobs.executors.base import Cancel
from modules.patches.fused_projections import Fused
from modules.requests.events import Loading, Warned
from tests.engine.test_families import pictures, run
from tests.tiny import write_tiny

CHECKPOINT = "one.safetensors"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    data = tmp_path_factory.mktemp("speeding")
    write_tiny(data / "models" / "Stable-diffusion" / CHECKPOINT)
    return data


@pytest.fixture(scope="module")
def wanted(data):
    return pictures(run(build_engine(paths=Paths(data=data), use_cpu=True), CHECKPOINT))


def said(events, kind):
    return [getattr(event, "name", "") or getattr(event, "message", "") for event in events if isinstance(event, kind)]


def test_flags_ask_for_them():
    flags = parse_flags(["--compile", "--fuse-projections"])
    assert (flags.compiles, flags.fuses) == (True, True)
    assert (parse_flags([]).compiles, parse_flags([]).fuses) == (False, False)


def test_fused_projections_draw_the_same(data, wanted):
    engine = build_engine(paths=Paths(data=data), use_cpu=True, fuses=True)
    events = run(engine, CHECKPOINT)
    assert np.abs(pictures(events) - wanted).max() <= 2
    unet = engine._tools.models.load(CHECKPOINT).backbone
    assert any(isinstance(getattr(module, "processor", None), Fused) for module in unet.modules())


def test_compiled_blocks_draw_the_same_and_the_warm_up_is_told_once(data, wanted, monkeypatch):
    """With a backend that computes what it was given: Inductor itself is tested with the blocks."""
    seen, real = [], torch.compile

    def traced(function, **options):
        return real(function, dynamic=False, backend=lambda graph, examples: seen.append(graph) or graph.forward)

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setattr(torch, "compile", traced)
    engine = build_engine(paths=Paths(data=data), use_cpu=True, compiles=True)
    first, second = run(engine, CHECKPOINT), run(engine, CHECKPOINT)
    assert seen
    assert np.abs(pictures(first) - wanted).max() <= 2
    assert "the network, compiled for this size (once)" in said(first, Loading)
    assert said(second, Loading) == []
    assert said(first, Warned) == []


def kernels(folder):
    """Five files of 100 bytes, made on five days; the eldest was read on the sixth."""
    for day in range(1, 6):
        path = folder / "ab" / f"kernel{day}.so"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100))
        os.utime(path, (86_400 * (6 if day == 1 else day), 86_400 * day))
    return lambda: {path.name for path in folder.rglob("*.so")}


def test_kernels_that_were_used_longest_ago_are_let_go(tmp_path):
    left = kernels(tmp_path)
    tidy(tmp_path, 500)
    assert len(left()) == 5
    tidy(tmp_path, 399)
    assert left() == {"kernel1.so", "kernel4.so", "kernel5.so"}
    tidy(tmp_path / "missing", 0)


def test_kernels_are_let_go_before_a_network_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    left = kernels(tmp_path)
    speeding = Speeding(tmp_path, compiles=True, most=200)
    speeding.put(torch.nn.Linear(2, 2), Context(emit=lambda _: None, cancel=Cancel()))
    assert left() == {"kernel1.so", "kernel5.so"}


def test_a_compiler_that_is_missing_is_told_once_and_nothing_is_lost(data, wanted, monkeypatch):
    def broken(function, **options):
        def call(*args, **kwargs):
            raise RuntimeError("no compiler") from FileNotFoundError("g++")

        return call

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setattr(torch, "compile", broken)
    engine = build_engine(paths=Paths(data=data), use_cpu=True, compiles=True)
    first, second = run(engine, CHECKPOINT), run(engine, CHECKPOINT)
    assert np.array_equal(pictures(first), wanted)
    assert said(first, Warned) == [
        "torch.compile does not work here (FileNotFoundError); PyTorch computes as without --compile."
    ]
    assert said(second, Warned) == []


def test_where_openvino_computes_it_is_said_to_have_no_effect(data, caplog):
    build_engine(paths=Paths(data=data), use_cpu=True, cpu_precision="fp32", compiles=True)
    assert "--compile has no effect where OpenVINO computes. Start with --no-half as well." in caplog.text
