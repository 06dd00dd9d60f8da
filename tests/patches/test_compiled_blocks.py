"""Blocks that torch.compile compiled: the same answers, and PyTorch's where they cannot be compiled or are patched."""

import shutil
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed

from modules.patches.compiled_blocks import CompiledBlocks, blocks_of
from modules.patches.hooks import hooks
from tests.patches.unets import ask, inputs, small_unet

COMPILER = pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a CPU")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Inductor's own folder, and as little as it can be brought to do."""
    quick = {"COMPILE_THREADS": "1", "VEC_ISA_OK": "0", "CPP_CACHE_PRECOMPILE_HEADERS": "0"}
    for name, value in quick.items():
        monkeypatch.setenv(f"TORCHINDUCTOR_{name}", value)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "inductor"))


def compiled(unet):
    told, warned = [], []
    return CompiledBlocks(unet, lambda: told.append(1), warned.append), told, warned


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(32, 32)

    def forward(self, x):
        return x + torch.nn.functional.silu(self.layer(x))


class Row(nn.Module):
    """Two blocks that are alike, so that one compilation is for both."""

    _repeated_blocks = ("Block",)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(Block() for _ in range(2)).requires_grad_(False)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


@COMPILER
@pytest.mark.timeout(600)
@torch.inference_mode()
def test_the_same_answers_and_each_size_told_once():
    row, x = Row(), torch.randn(2, 16, 32)
    wanted = row(x)
    blocks, told, warned = compiled(row)
    assert blocks.useful
    for _ in range(2):
        torch.testing.assert_close(row(x), wanted, atol=1e-5, rtol=1e-4)
    assert (len(told), warned) == (1, [])
    layer: Any = row.blocks[1].layer
    with hooks() as hook:  # which what is compiled would not see
        hook.after(layer, lambda found: found + 1)
        changed = row(x)
    layer.bias.data += 1
    torch.testing.assert_close(row(x), changed, atol=1e-5, rtol=1e-4)
    layer.bias.data -= 1
    blocks.close()
    torch.testing.assert_close(row(x), wanted)
    assert all("forward" not in vars(block) for block in blocks_of(row))


@torch.inference_mode()
def test_what_cannot_be_compiled_is_computed_and_told_once(monkeypatch):
    def broken(function, **options):
        def call(*args, **kwargs):
            raise BackendCompilerFailed(lambda: 0, FileNotFoundError("g++"), None)

        return call

    monkeypatch.setattr(torch, "compile", broken)
    unet = small_unet()
    x, context = inputs()
    wanted = ask(unet, x, context)
    blocks, _, warned = compiled(unet)
    for _ in range(2):
        assert torch.equal(ask(unet, x, context), wanted)
    assert len(warned) == 1
    assert not blocks.useful


@torch.inference_mode()
def test_memory_that_runs_out_is_told_upwards(monkeypatch):
    def short(function, **options):
        def call(*args, **kwargs):
            raise torch.OutOfMemoryError("CUDA out of memory")

        return call

    monkeypatch.setattr(torch, "compile", short)
    unet = small_unet()
    blocks, _, warned = compiled(unet)
    with pytest.raises(torch.OutOfMemoryError):
        ask(unet, *inputs())
    assert not warned
    assert blocks.useful


@torch.inference_mode()
def test_a_block_that_fails_by_itself_fails_as_ever(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    unet = small_unet()
    _, _, warned = compiled(unet)
    with pytest.raises(RuntimeError, match="shape"):
        ask(unet, inputs()[0], torch.zeros(2, 77, 5))
    assert not warned


def test_weights_that_are_streamed_in_leave_nothing_to_compile():
    from modules.devices.residence import Meter, Streamed

    unet = small_unet()
    blocks, told, _ = compiled(unet)
    Streamed(torch.device("cpu"), Meter()).attach([[unet]])
    assert not blocks.useful
    with torch.inference_mode():
        ask(unet, *inputs())
    assert not told
