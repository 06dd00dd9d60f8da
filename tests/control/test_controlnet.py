"""ControlNets of every layout give what diffusers' own module gives, and the U-Net is as it was when they are gone."""

import pytest
import torch

from modules.control.building import build_controlnet
from modules.control.kinds import CONTROLNET, kind_of
from modules.core.errors import ModelFileError
from modules.devices.choice import Compute
from modules.families.unet import Call
from modules.families.weights import read_weights, shapes_of
from tests.tiny_control import tiny_controlnet, write_controlnet

CPU = Compute(device=torch.device("cpu"), dtype=torch.float32, vae_dtype=torch.float32)
XL = {
    "use_linear_projection": True,
    "attention_head_dim": (1, 1),
    "block_out_channels": (64, 64),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 64,
}


def call_of(labels=None, rows=2):
    torch.manual_seed(5)
    x, context = torch.randn(rows, 4, 8, 12), torch.randn(rows, 77, 64)
    return Call(x, torch.tensor([400.0, 10.0][:rows]), context, labels)


@pytest.mark.parametrize("layout", ["diffusers", "ldm", "bare"])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@torch.inference_mode()
def test_both_layouts_give_what_diffusers_gives(tmp_path, layout, suffix):
    module = tiny_controlnet()
    path = write_controlnet(tmp_path / f"canny.{suffix}", module, layout)
    kind = kind_of(shapes_of(path).shapes, path)
    assert (kind.name, kind.family) == (CONTROLNET, "sd1")
    call, hint = call_of(), torch.rand(2, 3, 64, 96)
    down, middle = module(call.x, call.t, call.context, hint, return_dict=False)
    found = build_controlnet(read_weights(path), CPU, path).residuals(call, hint)
    assert torch.equal(torch.stack([one.sum() for one in found.down]), torch.stack([one.sum() for one in down]))
    assert found.middle is not None
    assert torch.equal(found.middle, middle)


@torch.inference_mode()
def test_of_xl_it_takes_the_vector_as_the_u_net_does(tmp_path):
    module = tiny_controlnet(**XL)
    path = write_controlnet(tmp_path / "xl.safetensors", module)
    assert kind_of(shapes_of(path).shapes, path).family == "sdxl"
    pooled, sizes = torch.randn(2, 16), torch.randint(0, 900, (2, 6)).float()
    hint, call = torch.rand(2, 3, 64, 96), call_of()
    told = {"text_embeds": pooled, "time_ids": sizes}
    down, middle = module(call.x, call.t, call.context, hint, added_cond_kwargs=told, return_dict=False)
    times = module.add_time_proj(sizes.flatten()).reshape(2, -1)
    labels = torch.cat([pooled, times], dim=1)
    found = build_controlnet(read_weights(path), CPU, path).residuals(call._replace(labels=labels), hint)
    assert found.middle is not None
    assert torch.allclose(found.middle, middle, atol=1e-6)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found.down, down, strict=True))


@torch.inference_mode()
def test_shuffle_is_pooled_by_its_name(tmp_path):
    module = tiny_controlnet()
    path = write_controlnet(tmp_path / "control_v11e_sd15_shuffle.safetensors", module)
    network = build_controlnet(read_weights(path), CPU, path)
    found = network.residuals(call_of(), torch.rand(2, 3, 64, 96))
    assert network.guided_only
    assert {one.shape[-2:] for one in found.all} == {(1, 1)}


def test_softening_is_the_extensions():
    network = build_controlnet_soft()
    assert network[-1] == 1.0
    assert network[0] == pytest.approx(0.09941396206337118)


def build_controlnet_soft():
    from modules.control.networks import ControlNet

    return ControlNet(torch.nn.Identity()).soft(13)


def test_what_is_no_control_model_says_so(tmp_path):
    with pytest.raises(ModelFileError, match='"x.safetensors" is no ControlNet'):
        kind_of({"some.weight": (3, 3)}, tmp_path / "x.safetensors")
