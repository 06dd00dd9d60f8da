"""ControlNets through OpenVINO: PyTorch's residuals, converted once, their pictures read once."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from modules.control.building import build_adapter, build_controlnet, build_union
from modules.control.compiled import SEEN, CompiledControlNet, Eye
from modules.core.paths import ROOT
from modules.devices.choice import choose_compute
from modules.devices.compiled import CompiledRuntime
from modules.families.unet import Call
from modules.families.weights import read_weights
from tests.tiny_control import tiny_adapter, tiny_controlnet, tiny_union, write_controlnet

PLAIN = choose_compute(use_cpu=True)
STARTER = ROOT / "models" / "ControlNet" / "starter-canny.safetensors"
XL = {
    "block_out_channels": (64, 64),
    "attention_head_dim": (1, 1),
    "use_linear_projection": True,
    "class_embed_type": "projection",
    "projection_class_embeddings_input_dim": 64,
}


@pytest.fixture(scope="module")
def compute(tmp_path_factory):
    return replace(PLAIN, compiled=CompiledRuntime(tmp_path_factory.mktemp("compiled"), "fp32"))


def call_of(width, h, w, *, labels=False):
    torch.manual_seed(5)
    x, context = torch.randn(2, 4, h, w), torch.randn(2, 77, width)
    return Call(x, torch.tensor([400.0, 10.5]), context, torch.randn(2, 64) if labels else None)


def same(plain, compiled, call):
    hint = torch.rand(2, 3, 8 * call.x.shape[-2], 8 * call.x.shape[-1])
    wanted, found = plain.residuals(call, hint).all, compiled.residuals(call, hint).all
    assert isinstance(compiled.module, CompiledControlNet)
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape and (a - b).norm() / b.norm() < 1e-3


@torch.inference_mode()
def test_the_starters_at_any_size(compute):
    told = []
    plain = build_controlnet(read_weights(STARTER), PLAIN, STARTER)
    for _ in range(2):
        compiled = build_controlnet(read_weights(STARTER), compute, STARTER, told.append)
        for h, w in ((16, 16), (9, 14)):
            same(plain, compiled, call_of(plain.module.config.cross_attention_dim, h, w))
    assert told == ["the ControlNet for this CPU (once)"]
    assert {name: plain.module.config[name] for name in ("block_out_channels", "layers_per_block")} == {
        name: getattr(compiled.module.config, name) for name in ("block_out_channels", "layers_per_block")
    }


@torch.inference_mode()
def test_of_xl_and_of_half_precision(tmp_path, compute):
    path = write_controlnet(tmp_path / "xl.safetensors", tiny_controlnet(**XL).half())
    plain, compiled = (build_controlnet(read_weights(path), one, path) for one in (PLAIN, compute))
    same(plain, compiled, call_of(64, 8, 12, labels=True))


@torch.inference_mode()
def test_a_union_of_every_kind(tmp_path, compute):
    path, told = write_controlnet(tmp_path / "union.safetensors", tiny_union()), []
    plain = build_union(read_weights(path), PLAIN, path)
    compiled = build_union(read_weights(path), compute, path, told.append)
    for kind in ("Depth", "Hard Edge", "Unknown"):
        same(plain.told(kind, "f"), compiled.told(kind, "f"), call_of(64, 8, 12, labels=True))
    assert len(told) == 1


@torch.inference_mode()
def test_pytorch_computes_where_openvino_fails(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    compute, call = replace(PLAIN, compiled=CompiledRuntime(blocked, "fp32")), call_of(64, 8, 8)
    path = write_controlnet(tmp_path / "canny.safetensors", tiny_controlnet())
    plain, other = (build_controlnet(read_weights(path), one, path) for one in (PLAIN, compute))
    hint = torch.rand(2, 3, 64, 64)
    for a, b in zip(plain.residuals(call, hint).all, other.residuals(call, hint).all, strict=True):
        assert torch.equal(a, b)


def controlnet(folder, compute):
    path = write_controlnet(folder / "canny.safetensors", tiny_controlnet())
    network = build_controlnet(read_weights(path), compute, path)
    module = network.module
    return network, module._eye if isinstance(module, CompiledControlNet) else module.controlnet_cond_embedding


def adapter(folder, compute):
    path = write_controlnet(folder / "adapter.safetensors", tiny_adapter())
    network = build_adapter(read_weights(path), compute, path)
    return network, network._eye


@torch.inference_mode()
@pytest.mark.parametrize(("make", "through"), [(controlnet, False), (controlnet, True), (adapter, False)])
def test_a_picture_is_read_once_for_all_steps(make, through, tmp_path, compute):
    """Of some units in turn as well; another picture is not taken for it, however little differs."""
    network, eye = make(tmp_path, compute if through else PLAIN)
    read = []
    eye.layers.register_forward_hook(lambda *_: read.append(1))
    call, hints = call_of(64, 8, 8), [torch.rand(2, 3, 64, 64) for _ in range(SEEN)]
    for step in range(3):
        moved = call._replace(t=call.t - step)
        for hint in hints:
            network.residuals(moved, hint.clone())
    assert len(read) == SEEN
    other = hints[0].clone()
    other[0, 0, 5, 5] += 0.5
    before, after = network.residuals(call, hints[0]).all, network.residuals(call, other).all
    assert len(read) == SEEN + 1
    assert not torch.equal(before[0], after[0])


def test_older_pictures_are_forgotten():
    """What an eye holds does not grow with the pictures of a long video."""
    eye, read = Eye(nn.Identity()), []
    eye.layers.register_forward_hook(lambda _, inputs, __: read.append(int(inputs[0][0])))
    for number in (*range(SEEN + 1), *range(1, SEEN + 1), 0):
        eye(torch.tensor([float(number)]))
    assert read == [*range(SEEN + 1), 0]
    eye(torch.tensor([2.0]))
    eye(torch.tensor([1.0]))
    assert read == [*range(SEEN + 1), 0, 1]
