"""Parts that run through OpenVINO: what PyTorch computes, at any size, converted once."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modules.core.errors import InputError
from modules.devices.compiled import VARIANTS, CompiledRuntime, fingerprint
from modules.devices.conversion import Traced
from modules.devices.edits import Edits

SHAPES = ((1, 3, -1, -1), (1, None, 8))


class Part(nn.Module):
    def __init__(self, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, padding=1).to(dtype)
        self.linear = nn.Linear(8, 8).to(dtype)

    def forward(self, x, context):
        return self.conv(x) + self.linear(context).mean(dim=1)[:, :, None, None]


@pytest.fixture
def module():
    return Part().eval().requires_grad_(False)


def made(runtime, module, told, tensors=None):
    tensors = tensors or dict(module.named_parameters())

    def trace():
        examples = (torch.zeros(2, 3, 6, 10), torch.zeros(2, 5, 8))
        return Traced(module=module, examples=examples, shapes=((None, 3, -1, -1), (None, None, 8)))

    return runtime.part("part", tensors, trace, SHAPES, told.append, by_row=True)


def test_computes_the_same_at_any_size(module, tmp_path):
    part = made(CompiledRuntime(tmp_path, "fp32"), module, [])
    for b, h, w, t in ((1, 4, 4, 3), (3, 4, 4, 3), (2, 5, 9, 7), (1, 4, 4, 1)):
        inputs = torch.randn(b, 3, h, w), torch.randn(b, t, 8)
        torch.testing.assert_close(part(*inputs)[0], module(*inputs), atol=1e-5, rtol=1e-5)


def test_rows_do_not_depend_on_their_batch(module, tmp_path):
    part = made(CompiledRuntime(tmp_path, "fp32"), module, [])
    x, context = torch.randn(3, 3, 4, 4), torch.randn(3, 3, 8)
    assert torch.equal(part(x, context)[0][1:2], part(x[1:2], context[1:2])[0])


def test_is_converted_once_for_its_weights(module, tmp_path):
    told, runtime = [], CompiledRuntime(tmp_path, "fp32")
    for _ in range(2):
        made(runtime, module, told)
        made(CompiledRuntime(tmp_path, "fp32"), module, told)
    assert told == ["the part for this CPU (once)"]
    module.linear.bias.data[3] += 1
    made(runtime, module, told)
    assert len(told) == 2
    assert len(list(tmp_path.glob("part-*/model.xml"))) == 2
    assert not list(tmp_path.glob(".*"))


def test_a_conversion_that_fails_leaves_nothing(module, tmp_path):
    def trace():
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        CompiledRuntime(tmp_path, "fp32").part("part", dict(module.named_parameters()), trace, SHAPES, print)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_16_bits_are_used_as_they_are(dtype, tmp_path):
    half, whole = Part(dtype).eval().requires_grad_(False), Part().eval().requires_grad_(False)
    whole.load_state_dict({name: value.float() for name, value in half.state_dict().items()})
    inputs = torch.randn(1, 3, 4, 4), torch.randn(1, 2, 8)
    expected = whole(*inputs)
    part = made(CompiledRuntime(tmp_path, "fp32"), half, [])
    torch.testing.assert_close(part(*inputs)[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fails", [False, True])
def test_pytorch_is_as_it_was_after_a_conversion(fails, tmp_path, monkeypatch):
    half, bmm = Part(torch.float16).eval().requires_grad_(False), torch.bmm
    if fails:
        monkeypatch.setattr(half, "forward", lambda x, context: torch.zeros(2, 3).view(5))
        with pytest.raises(RuntimeError):
            made(CompiledRuntime(tmp_path, "fp32"), half, [])
    else:
        made(CompiledRuntime(tmp_path, "fp32"), half, [])
    assert torch.bmm is bmm
    assert half.linear.weight.dtype == torch.float16
    assert torch.equal(half.linear(torch.ones(1, 8).half()), Part(torch.float16).linear(torch.ones(1, 8).half()))


def test_fingerprints_tell_names_shapes_types_and_values_apart():
    base = {"a": torch.arange(12.0)}
    others = [
        {"b": torch.arange(12.0)},
        {"a": torch.arange(12.0).view(3, 4)},
        {"a": torch.arange(12.0).half()},
        {"a": torch.arange(12.0) + 1},
        {"a": torch.arange(12.0), "b": torch.zeros(0)},
    ]
    found = {fingerprint(tensors) for tensors in (base, {"a": torch.arange(12.0)}, *others)}
    assert len(found) == 1 + len(others)


def test_in_int8_with_ranges_of_its_own_inputs(module, tmp_path):
    part = made(CompiledRuntime(tmp_path, "int8"), module, [])
    assert not part.use_quantised()
    samples = [(torch.randn(1, 3, 6, 6), torch.randn(1, 4, 8)) for _ in range(4)]
    part.quantise(samples)
    assert part.quantised
    assert made(CompiledRuntime(tmp_path, "int8"), module, []).use_quantised()
    inputs = torch.randn(1, 3, 4, 4), torch.randn(1, 2, 8)
    error = (part(*inputs)[0] - module(*inputs)).norm() / module(*inputs).norm()
    assert 1e-4 < error < 0.3  # quantised, and right
    assert not list(tmp_path.glob(".*"))


def test_quantising_that_fails_says_why_and_leaves_the_part(module, tmp_path):
    part = made(CompiledRuntime(tmp_path, "int8"), module, [])
    with pytest.raises(RuntimeError):
        part.quantise([(torch.randn(1, 5, 6, 6), torch.randn(1, 4, 8))])  # 5 channels, not 3
    assert not part.quantised
    inputs = torch.randn(1, 3, 4, 4), torch.randn(1, 2, 8)
    torch.testing.assert_close(part(*inputs)[0], module(*inputs), atol=0.05, rtol=0.05)


def test_quantising_is_not_begun_where_memory_is_short(module, tmp_path, monkeypatch):
    part = made(CompiledRuntime(tmp_path, "int8"), module, [])
    monkeypatch.setattr("modules.devices.compiled.free_memory", lambda device: 10)
    with pytest.raises(RuntimeError, match=r"needs .* GB of memory, 0\.0 GB are free"):
        part.check_memory()


class Double(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x):
        return x + 0.5 * torch.tanh(self.inner(x))


def edited(module):
    """Another module with other weights in every layer, and the edits that make the first one so."""
    other = Part().eval().requires_grad_(False)
    for parameter in other.parameters():
        parameter += 0.3 * torch.randn_like(parameter)
    weights = {name: tensor.clone() for name, tensor in other.named_parameters()}
    return other, Edits(key="other", weights=lambda: weights)


def off(part, module, inputs):
    return float((part(*inputs)[0] - module(*inputs)).norm() / module(*inputs).norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kept", [torch.float32, torch.float16, torch.bfloat16])
def test_other_weights_count_until_they_are_taken_out(dtype, kept, tmp_path):
    module = Part(dtype).eval().requires_grad_(False)
    part = made(CompiledRuntime(tmp_path, "fp32"), module, [])
    inputs = torch.randn(1, 3, 4, 4), torch.randn(1, 2, 8)
    before = part(*inputs)[0]
    other, edits = edited(module)
    part.edit(Edits(key=1, weights=lambda: {name: tensor.to(kept) for name, tensor in edits.weights().items()}))
    assert off(part, other, inputs) < (1e-5 if kept is torch.float32 else 0.02)
    part.edit(Edits())
    assert torch.equal(part(*inputs)[0], before)


def test_other_weights_in_int8(module, tmp_path):
    """Quantised anew, behind the multipliers that even out their inputs."""
    part = made(CompiledRuntime(tmp_path, "int8"), module, [])
    part.quantise(
        [(torch.randn(1, 3, 6, 6) * torch.tensor([1, 9, 0.1]).reshape(3, 1, 1), torch.randn(1, 4, 8)) for _ in range(8)]
    )
    inputs = torch.randn(1, 3, 4, 4), torch.randn(1, 2, 8)
    before = part(*inputs)[0]
    usual = off(part, module, inputs)
    other, edits = edited(module)
    part.edit(edits)
    assert off(part, other, inputs) < 2 * usual + 0.02
    part.edit(Edits())
    assert torch.equal(part(*inputs)[0], before)


@pytest.mark.parametrize("quantised", [False, True])
def test_what_stands_before_a_layer(quantised, module, tmp_path):
    part = made(CompiledRuntime(tmp_path, "int8" if quantised else "fp32"), module, [])
    if quantised:
        part.quantise([(torch.randn(1, 3, 6, 6), torch.randn(1, 4, 8)) for _ in range(8)])
    inner = Double().eval().requires_grad_(False)
    inputs = torch.randn(1, 3, 4, 4), torch.randn(1, 2, 8)
    bare = off(part, module, inputs)
    part.edit(Edits(key=1, before={"linear": inner}))
    expected = module.conv(inputs[0]) + module.linear(inner(inputs[1])).mean(dim=1)[:, :, None, None]
    found = part(*inputs)[0]
    assert (found - expected).norm() / expected.norm() < 2 * bare + 0.02 * quantised + 1e-5
    assert off(part, module, inputs) > 0.05


def test_a_bias_where_there_was_none(tmp_path):
    bare: Any = Part().eval().requires_grad_(False)
    bare.conv.bias = bare.linear.bias = None
    part = made(CompiledRuntime(tmp_path, "fp32"), bare, [])
    inputs = torch.randn(1, 3, 4, 4), torch.randn(1, 2, 8)
    biases = {"conv.bias": torch.randn(8), "linear.bias": torch.randn(8)}
    part.edit(Edits(key=1, weights=lambda: biases))
    expected = bare(*inputs) + (biases["conv.bias"] + biases["linear.bias"]).reshape(1, 8, 1, 1)
    torch.testing.assert_close(part(*inputs)[0], expected, atol=1e-5, rtol=1e-5)


def test_a_layer_that_is_not_there(module, tmp_path):
    part = made(CompiledRuntime(tmp_path, "fp32"), module, [])
    part.edit(Edits(key=1, weights=lambda: {"nowhere.weight": torch.ones(2, 2)}))
    with pytest.raises(InputError, match="OpenVINO cannot compute .* no layer nowhere"):
        part(torch.randn(1, 3, 4, 4), torch.randn(1, 2, 8))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of pages")
def test_what_was_read_to_compile_is_not_held(tmp_path):
    """The file stays mapped, and what stands in it counts."""
    module: Any = Part().eval().requires_grad_(False)
    module.linear = nn.Linear(8, 2**18).requires_grad_(False)
    module.back = nn.Linear(2**18, 8).requires_grad_(False)
    module.forward = lambda x, context: module.conv(x) + module.back(module.linear(context)).mean(1)[:, :, None, None]
    part = made(CompiledRuntime(tmp_path, "fp32"), module, [])
    inputs = torch.randn(1, 3, 4, 4), torch.randn(1, 2, 8)
    for _ in range(2):
        assert off(part, module, inputs) < 1e-3
    (file,) = tmp_path.glob("*/model.bin")
    mapped = Path("/proc/self/smaps").read_text().split(str(file))[1:]
    held = sum(int(rest.split("Rss:")[1].split()[0]) for rest in mapped)
    assert mapped and held * 1024 < file.stat().st_size / 4


def test_some_variants_are_kept_while_there_is_memory(module, tmp_path, monkeypatch):
    part = made(CompiledRuntime(tmp_path, "fp32"), module, [])
    compiled = []
    compile_one = part._compile
    monkeypatch.setattr(part, "_compile", lambda *arguments: compiled.append(1) or compile_one(*arguments))
    for size in (4, 5, 6, 7, 4, 5, 6, 7, 8, 8, 4):  # the one used least recently goes
        part(torch.randn(1, 3, size, 4), torch.randn(1, 2, 8))
    assert len(compiled) == VARIANTS + 2 == 6
    monkeypatch.setattr("modules.devices.compiled.free_memory", lambda device: 10)
    for size in (9, 4):
        part(torch.randn(1, 3, size, 4), torch.randn(1, 2, 8))
    assert len(compiled) == 8
