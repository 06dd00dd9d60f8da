"""Networks for transformers, under the authors' names and diffusers': what changes is what the files say, matrix by matrix."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from modules.core.errors import InputError
from modules.families.gguf_weights import GgmlCodec
from modules.families.packed import PackedTensor
from modules.networks.files import read_network
from modules.networks.fitting import fit
from modules.networks.patch import Patched
from modules.networks.tags import Wanted
from modules.networks.targets import Targets
from tests.families.test_gguf_weights import random_rows
from tests.families.test_z_image import ZImageTransformer2DModel, seeded
from tests.families.test_z_image import original as z_image_original
from tests.networks.files import write
from tests.tiny_flux import original as flux_original
from tests.tiny_flux import tiny_chroma, tiny_flux
from tests.tiny_modern import tensors_of
from tests.tiny_sd3 import sd3_named, sd3_original, tiny_sd3

CPU = torch.device("cpu")
SKIPPED = ("final_layer.adaLN_modulation.1", "joint_blocks.2.context_block.adaLN_modulation.1")  # halves change places


def tiny_z_image():
    """diffusers' transformer."""
    sizes: dict[str, Any] = {
        "dim": 256,
        "n_layers": 1,
        "n_refiner_layers": 1,
        "n_heads": 2,
        "n_kv_heads": 2,
        "cap_feat_dim": 32,
    }
    return seeded(ZImageTransformer2DModel(**sizes), 2)


NETWORKS = {
    "flux": (tiny_flux, tensors_of, flux_original),
    "chroma": (tiny_chroma, tensors_of, flux_original),
    "sd3": (lambda: tiny_sd3(second=(0,)), sd3_named, sd3_original),
    "z-image": (tiny_z_image, tensors_of, z_image_original),
    "qwen-image": (tiny_flux, tensors_of, dict),  # whatever has diffusers' names and no map
}


def model_of(family, backbone) -> Any:
    return SimpleNamespace(family=family, backbone=backbone, prompts=None, name="tiny")


def factors(matrix, rank=2):
    generator = torch.Generator().manual_seed(sum(matrix.shape))
    up = torch.randn(len(matrix), rank, generator=generator)
    return up, torch.randn(rank, matrix.shape[1], generator=generator)


def written(folder, matrices, form):
    tensors = {}
    for name, matrix in matrices.items():
        up, down = factors(matrix)
        dots = name.removesuffix(".weight")
        if form == "kohya":
            flat = f"lora_unet_{dots.replace('.', '_')}"
            tensors |= {f"{flat}.lora_up.weight": up, f"{flat}.lora_down.weight": down}
        else:
            tensors |= {f"diffusion_model.{dots}.lora_B.weight": up, f"diffusion_model.{dots}.lora_A.weight": down}
    return read_network(write(folder / "lora.safetensors", tensors), "lora")


@pytest.mark.parametrize("form", ["kohya", "dots"])
@pytest.mark.parametrize("family", NETWORKS)
def test_original_names_reach_every_row(family, form, tmp_path):
    make, named, to_original = NETWORKS[family]
    backbone = make()
    before = to_original({name: tensor.clone() for name, tensor in named(backbone).items()})
    matrices = {
        name: tensor
        for name, tensor in before.items()
        if tensor.ndim == 2 and name.endswith(".weight") and not name.startswith(SKIPPED)
    }
    wanted = Wanted(kind="lora", name="lora", unet=0.5)
    fitted = fit(written(tmp_path, matrices, form), wanted, Targets(model_of(family, backbone)), "tiny")
    assert (fitted.count, fitted.total) == (len(matrices), len(matrices))
    patched = Patched(fitted.uses(wanted), CPU)
    patched.put_in()
    after = to_original(named(backbone))
    for name, matrix in matrices.items():
        up, down = factors(matrix)
        torch.testing.assert_close(after[name] - matrix, 0.5 * up @ down, rtol=1e-4, atol=1e-5)
    patched.take_out()
    assert all(torch.equal(tensor, before[name]) for name, tensor in to_original(named(backbone)).items())


def test_block_weights_are_for_unets(tmp_path):
    wanted = Wanted(kind="lora", name="lora", blocks=(1.0,) * 17)
    network = tiny_flux()
    file = written(tmp_path, {"proj_out.weight": network.proj_out.weight}, "dots")
    with pytest.raises(InputError, match="has no such blocks"):
        fit(file, wanted, Targets(model_of("flux", network)), "tiny")


class Packed(nn.Module):
    """Queries, keys and values in packed rows, and where they go."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Module()
        for name in ("to_q", "to_k", "to_v"):
            layer = nn.Linear(64, 12, bias=False)
            rows = torch.from_numpy(random_rows(8, rows=12, columns=64))
            layer.weight = nn.Parameter(PackedTensor(rows, GgmlCodec(8), 64, torch.float32), requires_grad=False)
            self.attention.add_module(name, layer)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_packed_weights_stay_packed(kind, tmp_path):
    network = Packed()
    layers = [getattr(network.attention, name) for name in ("to_q", "to_k", "to_v")]
    before = [layer.weight.unpacked() for layer in layers]
    joint = torch.cat(before)
    up, down = factors(joint)
    name = "diffusion_model.attention.qkv"
    tensors = (
        {f"{name}.lora_B.weight": up, f"{name}.lora_A.weight": down} if kind == "lora" else {f"{name}.diff": up @ down}
    )
    file = read_network(write(tmp_path / "lora.safetensors", tensors), "lora")
    wanted = Wanted(kind="lora", name="lora")
    patched = Patched(fit(file, wanted, Targets(model_of("z-image", network)), "tiny").uses(wanted), CPU)
    x = torch.randn(2, 64)
    whole = dict(patched.unpacked)
    patched.put_in()
    for layer, plain, added in zip(layers, before, (up @ down).chunk(3), strict=True):
        torch.testing.assert_close(whole[layer], plain + added)
        assert isinstance(layer.weight, PackedTensor)
        torch.testing.assert_close(layer(x), x @ (plain + added).T, rtol=1e-4, atol=1e-4)
    patched.take_out()
    for layer, plain in zip(layers, before, strict=True):
        assert torch.equal(layer.weight.unpacked(), plain)
