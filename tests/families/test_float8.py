"""Weights kept as float8: what a layer computes with, and what it takes."""

import torch
from torch import nn
from torch.nn import functional

from modules.families.float8 import keep_as_float8
from modules.families.packed import PackedTensor


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.Flatten(), nn.Linear(6 * 25, 7)).eval()


def test_layers_compute_with_their_weights_rounded_to_float8():
    module, same = small(), small()
    x = torch.randn(2, 4, 5, 5)
    for layer in (same[0], same[3]):
        for name in ("weight", "bias"):
            parameter = getattr(layer, name)
            parameter.data = parameter.data.to(torch.float8_e4m3fn).float()
    keep_as_float8([module])
    with torch.inference_mode():
        assert torch.equal(module(x), same(x))
        assert not torch.equal(module(x), small()(x))


def test_it_takes_a_byte_a_weight():
    module = small()
    keep_as_float8([module])
    assert isinstance(module[0].weight, PackedTensor)
    assert module[0].weight.shape == (6, 4, 3, 3)
    assert module[0].weight.packed.nbytes == 6 * 4 * 3 * 3
    assert isinstance(module[3].weight, PackedTensor)
    assert module[3].weight.packed.nbytes == 7 * 6 * 25
    assert not isinstance(module[1].weight, PackedTensor)


def test_what_is_out_of_range_is_not_nan():
    linear = nn.Linear(2, 1, bias=False)
    linear.weight.data = torch.tensor([[1e6, -1e6]])
    keep_as_float8([linear])
    with torch.inference_mode():
        assert functional.linear(torch.eye(2), linear.weight).tolist() == [[448.0], [-448.0]]


def test_moving_and_twice_change_nothing():
    module = small()
    keep_as_float8([module])
    first = module[0].weight
    keep_as_float8([module])
    assert module[0].weight is first
    moved = module.to(torch.device("cpu"), torch.bfloat16)
    assert isinstance(moved[0].weight, PackedTensor)
    assert moved(torch.randn(1, 4, 5, 5).bfloat16()).dtype is torch.bfloat16
