"""float8 files: factors beside the weights are in them once read; packings that are not read are refused by name."""

from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modules.core.errors import ModelFileError
from modules.families.assembly import filled
from modules.families.packed import PackedTensor
from modules.families.weights import read_weights, shapes_of

FLOAT8 = torch.float8_e4m3fn


def saved(path, **tensors):
    save_file({name.replace("__", "."): tensor for name, tensor in tensors.items()}, path)
    return path


@pytest.mark.parametrize("name", ["scale_weight", "weight_scale"])
def test_one_factor(tmp_path, name):
    weight = torch.randn(4, 8).to(FLOAT8)
    extra = {"scaled_fp8": torch.zeros(2).to(FLOAT8), "x__scale_input": torch.ones(1), "conv__weight": weight.half()}
    path = saved(tmp_path / "x.safetensors", x__weight=weight, **{f"x__{name}": torch.tensor(0.03)}, **extra)
    found = read_weights(path)
    assert found.keys() == {"x.weight", "conv.weight"} == shapes_of(path).shapes.keys()
    assert isinstance(found["x.weight"], PackedTensor)
    top, rest = found["x.weight"].chunk(2)
    assert torch.equal(torch.cat([top, rest]) + 0, weight.float() * 0.03)


def test_layers_hold_the_products(tmp_path):
    weight = torch.randn(4, 8).to(FLOAT8)
    path = saved(tmp_path / "x.safetensors", x__weight=weight, x__scale_weight=torch.tensor(0.5), x__bias=torch.ones(4))
    module: Any = nn.Sequential(nn.Linear(8, 4, device="meta"))
    tensors = {name.replace("x.", "0."): tensor for name, tensor in read_weights(path).items()}
    filled(module, tensors, torch.device("cpu"), torch.float32)
    assert not isinstance(module[0].weight, PackedTensor)
    assert torch.equal(module[0].weight, weight.float() * 0.5)


def test_a_factor_a_row_and_what_fits_no_weight(tmp_path):
    weight, rows = torch.randn(4, 8).to(FLOAT8), torch.rand(4, 1)
    path = saved(tmp_path / "x.safetensors", x__weight=weight, x__scale_weight=rows)
    assert torch.equal(read_weights(path)["x.weight"], weight.float() * rows)
    path = saved(tmp_path / "y.safetensors", x__weight=weight, x__scale_weight=torch.rand(3))
    with pytest.raises(ModelFileError, match=r"factors of x.weight are \(3,\)"):
        read_weights(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [("absmax", "bitsandbytes"), ("quant_map", "bitsandbytes"), ("qweight", "SVDQuant"), ("weight_scale_2", "NVFP4")],
)
def test_other_packings_are_refused(tmp_path, name, said):
    path = saved(
        tmp_path / "x.safetensors", x__weight=torch.zeros(4, dtype=torch.uint8), **{f"x__{name}": torch.zeros(1)}
    )
    for read in (read_weights, shapes_of):
        with pytest.raises(ModelFileError, match=f'"x.safetensors" is packed by {said}.*GGUF'):
            read(path)
