"""LoRAs in what is compiled: added to what layers say, changed without compiling again."""

from typing import Any

import pytest
import torch
from torch import nn

from modules.core.errors import InputError
from modules.devices.compiled import CompiledRuntime
from modules.devices.conversion import Traced
from modules.devices.edits import Edits
from modules.devices.slots import Additions, stacked

SHAPES = ((1, 8, -1, -1), (1, None, 8))


class Part(nn.Module):
    """A convolution of 3 x 3, which has no room, one of one place, and a linear layer without a bias."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(8, 8, 3, padding=1).to(dtype)
        self.point = nn.Conv2d(8, 6, 1).to(dtype)
        self.linear = nn.Linear(8, 6, bias=False).to(dtype)

    def forward(self, x, context):
        return self.point(self.conv(x)) + self.linear(context).mean(dim=1)[:, :, None, None]


def made(folder, module, precision="fp32"):
    def trace():
        examples = (torch.zeros(2, 8, 6, 10), torch.zeros(2, 5, 8))
        return Traced(module=module, examples=examples, shapes=((None, 8, -1, -1), (None, None, 8)))

    tensors = dict(module.named_parameters())
    return CompiledRuntime(folder, precision).part("part", tensors, trace, SHAPES, print, by_row=True)


def counted(part):
    """How often it is compiled from now on."""
    compiled, compile_one = [], part._compile
    part._compile = lambda *given: compiled.append(1) or compile_one(*given)
    return compiled


def factors(seed, *ranks):
    """Of so many ranks for the two layers that have room."""
    torch.manual_seed(seed)
    paths = ("point", "linear")[: len(ranks)]
    return {path: (torch.randn(6, r) / 2, torch.randn(r, 8) / 2) for path, r in zip(paths, ranks, strict=True)}


def worn(module, pairs):
    """PyTorch's module with those added to its weights."""
    other = Part().eval().requires_grad_(False)
    other.load_state_dict({name: value.float() for name, value in module.state_dict().items()})
    for path, (up, down) in pairs.items():
        weight = other.get_submodule(path).weight
        weight += (up @ down).reshape(weight.shape)
    return other


def edits(number, pairs, **more):
    return Edits(additions=Additions(key=number, factors=lambda: pairs), **more)


def off(part, module, inputs):
    wanted = module(*inputs)
    return float((part(*inputs)[0] - wanted).norm() / wanted.norm())


INPUTS = torch.randn(2, 8, 5, 7), torch.randn(2, 3, 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_changing_them_compiles_nothing(dtype, tmp_path):
    """Of any rank, for all layers or one; the part without is the same afterwards, to the last bit."""
    module = Part(dtype).eval().requires_grad_(False)
    part = made(tmp_path, module)
    compiled = counted(part)
    before = part(*INPUTS)[0]
    first, second = factors(1, 3, 4), factors(2, 5)
    both = {path: stacked([*(one[path] for one in (first, second) if path in one)]) for path in first}
    for key, pairs in enumerate((first, second, both, {})):
        part.edit(edits(key, pairs))
        assert off(part, worn(module, pairs), INPUTS) < 1e-5
    assert off(part, worn(module, first), INPUTS) > 0.05
    part.edit(Edits())
    assert torch.equal(part(*INPUTS)[0], before)
    assert len(compiled) == 2  # without room for them, and with


def test_every_size_has_them(tmp_path):
    """What was put into one size is not what another one computes with."""
    module = Part().eval().requires_grad_(False)
    part, small = made(tmp_path, module), (torch.randn(1, 8, 4, 4), torch.randn(1, 2, 8))
    for key in (1, 2):
        pairs = factors(key, 2, 2)
        part.edit(edits(key, pairs))
        for inputs in (INPUTS, small):
            assert off(part, worn(module, pairs), inputs) < 1e-5


def test_beside_other_edits_in_int8(tmp_path):
    """Behind what evens out and rounds a layer's input: they are given it as it was, and what a hypernetwork makes of it, however
    large that is."""
    module, inner = Part().eval().requires_grad_(False), nn.Linear(8, 8).requires_grad_(False)
    inner.weight *= 5
    part = made(tmp_path, module, "int8")
    uneven = torch.tensor([1, 9, 0.1, 1, 2, 1, 1, 4])
    samples = [(torch.randn(1, 8, 6, 6) * uneven[:, None, None], torch.randn(1, 4, 8) * uneven) for _ in range(8)]
    part.quantise(samples)
    usual = off(part, module, samples[0])
    pairs = factors(1, 3, 3)
    part.edit(edits(1, pairs))
    assert off(part, worn(module, pairs), samples[0]) < 2 * usual + 0.02
    assert off(part, module, samples[0]) > 0.2
    part.edit(edits(1, pairs, key=1, before={"linear": inner}))
    other: Any = worn(module, pairs)
    other.linear = nn.Sequential(inner, other.linear)
    assert off(part, other, samples[0]) < 2 * usual + 0.02


def test_a_layer_that_is_not_there(tmp_path):
    """Whether it was compiled for others before or not, it is the prompt that is told of; others work after that."""
    module = Part().eval().requires_grad_(False)
    part, pairs = made(tmp_path, module), factors(1, 2, 2)
    for key, name in ((1, "nowhere"), (2, "conv")):
        part.edit(edits(key, {**pairs, name: pairs["linear"]}))
        with pytest.raises(InputError, match=f"OpenVINO cannot compute .* no layer {name}"):
            part(*INPUTS)
    part.edit(edits(3, pairs))
    assert off(part, worn(module, pairs), INPUTS) < 1e-5
