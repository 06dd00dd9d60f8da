"""T2I-Adapters, ControlNet Union and IP-Adapters give what diffusers' own modules give."""

from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from modules.control.building import build_adapter, build_union
from modules.control.ip_adapter import ImagePrompt, layer_weight
from modules.control.ip_building import build_ip_adapter
from modules.control.kinds import IP_ADAPTER, T2I, UNION, kind_of
from modules.control.turns import Moment
from modules.core.errors import InputError, ModelFileError
from modules.families.weights import read_weights, shapes_of
from modules.patches.hooks import hooks
from modules.requests.control import ControlUnit
from modules.sampling.view import Row
from tests.control.test_controlnet import CPU, call_of
from tests.tiny import tiny_parts
from tests.tiny_control import ip_adapter_tensors, tensors_of, tiny_adapter, tiny_union

UNIT = ControlUnit.model_validate({"model": "x"})


def saved(tensors, path):
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    return path


def original(tensors, each):
    """diffusers' names of a full adapter as they were before."""
    found = {}
    for name, value in tensors.items():
        name = name.removeprefix("adapter.")
        if ".resnets." in name:
            _, level, _, block, rest = name.split(".", 4)
            name = f"body.{int(level) * each + int(block)}.{rest}"
        elif name.startswith("body."):
            name = f"body.{int(name.split('.')[1]) * each}.{name.split('.', 2)[2]}"
        found[name] = value
    return found


FOUR: dict[str, Any] = {"channels": [32, 64, 64, 64]}


@pytest.mark.parametrize(
    ("kind", "config", "family"),
    [
        ("full_adapter", FOUR, ""),
        ("full_adapter", {**FOUR, "in_channels": 1}, ""),
        ("light_adapter", {"channels": [32, 64, 64]}, ""),
        ("full_adapter_xl", {**FOUR, "downscale_factor": 16}, "sdxl"),
    ],
)
@pytest.mark.parametrize("layout", ["diffusers", "original"])
@torch.inference_mode()
def test_t2i_adapters(tmp_path, kind, config, family, layout):
    module = tiny_adapter(kind=kind, **config)
    tensors = tensors_of(module)
    if layout == "original":
        light = {n.removeprefix("adapter.").replace(".resnets.", ".body."): v for n, v in tensors.items()}
        tensors = light if kind == "light_adapter" else original(tensors, 2)
    path = saved(tensors, tmp_path / "sketch.safetensors")
    assert (kind_of(shapes_of(path).shapes, path).name, kind_of(shapes_of(path).shapes, path).family) == (T2I, family)
    hint = torch.rand(2, 3, 128, 128)
    expected = module(hint.mean(dim=1, keepdim=True) if config.get("in_channels") == 1 else hint)
    found = build_adapter(read_weights(path), CPU, path).residuals(call_of(), hint).inside
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@torch.inference_mode()
def test_t2i_adapters_take_any_size(tmp_path):
    path = saved(tensors_of(tiny_adapter(**FOUR)), tmp_path / "x.safetensors")
    found = build_adapter(read_weights(path), CPU, path).residuals(call_of(), torch.rand(2, 3, 72, 136)).inside
    assert [one.shape[-2:] for one in found] == [(16, 24), (8, 12), (4, 6), (2, 3)]


@torch.inference_mode()
def test_union_is_told_one_kind_at_a_time(tmp_path):
    module = tiny_union()
    path = saved(tensors_of(module), tmp_path / "union.safetensors")
    assert (kind_of(shapes_of(path).shapes, path).name, kind_of(shapes_of(path).shapes, path).family) == (UNION, "sdxl")
    call = call_of(torch.randn(2, 64))
    hint = torch.rand(2, 3, 64, 96)
    network = build_union(read_weights(path), CPU, path)
    for kind, place in (("Depth", 1), ("Hard Edge", 3)):
        types = torch.zeros(2, 6)
        types[:, place] = 1
        down, middle = module(*call[:3], [hint], types, [place], class_labels=call.labels, return_dict=False)
        found = network.told(kind, "union_control_type").residuals(call, hint)
        assert all(torch.equal(a, b) for a, b in zip(found.all, (*down, middle), strict=True))
    with pytest.raises(InputError, match="Inpaint, which this network does not know"):
        network.told("Inpaint", "union_control_type")
    assert network.told("Unknown", "union_control_type")


@pytest.mark.parametrize("plus", [False, True])
@torch.inference_mode()
def test_ip_adapters(tmp_path, plus):
    unet: Any = tiny_parts()["unet"].eval()
    tensors = ip_adapter_tensors(unet, plus=plus)
    path = saved(tensors, tmp_path / "ip.safetensors")
    assert kind_of(shapes_of(path).shapes, path).name == IP_ADAPTER
    adapter = build_ip_adapter(read_weights(path), CPU, path)
    assert (adapter.embedded, adapter.whole) == (64, plus)
    embeds, nothing = (
        (torch.randn(1, 17, 64), torch.randn(1, 17, 64)) if plus else (torch.randn(1, 64), torch.zeros(1, 64))
    )
    words = adapter.words(embeds, nothing)
    call = call_of()
    moment = Moment(cell=8, rows=[Row(0, True), Row(0, False)])
    plain = unet(*call[:3]).sample
    with hooks() as hook:
        prompt = ImagePrompt(unit=UNIT.model_copy(update={"weight": 0.7}), adapter=adapter, words=words)
        prompt.attach(unet, hook, moment)
        found = unet(*call[:3]).sample
    assert torch.equal(unet(*call[:3]).sample, plain)
    image = {name.removeprefix("image_proj."): v for name, v in tensors.items() if name.startswith("image_proj.")}
    layers = {name.removeprefix("ip_adapter."): v for name, v in tensors.items() if name.startswith("ip_adapter.")}
    unet._load_ip_adapter_weights([{"image_proj": image, "ip_adapter": layers}], low_cpu_mem_usage=False)
    for processor in unet.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [0.7]
    both = torch.stack([embeds, nothing])
    expected = unet(*call[:3], added_cond_kwargs={"image_embeds": [both]}).sample
    assert not torch.allclose(found, plain, atol=1e-3)
    assert torch.allclose(found, expected, atol=1e-4)


def test_half_an_adapter_says_so(tmp_path):
    tensors = {"image_proj.latents": torch.zeros(1, 16, 8), "image_proj.proj_in.weight": torch.zeros(8, 512)}
    with pytest.raises(ModelFileError, match='"x.bin" lacks parts of an IP-Adapter'):
        build_ip_adapter(tensors, CPU, tmp_path / "x.bin")


def test_weights_by_name():
    def of(kind, count=16, **values):
        return [round(layer_weight(kind, i, count, 1.0, 0.5, wide=count == 11), 3) for i in range(count)]

    assert of("normal") == [1.0] * 16
    assert of("ease in")[0] == 1.0 and of("ease out")[0] == 0.05
    assert of("style transfer", 11) == [0] * 6 + [1] + [0] * 4
    assert of("composition", 11) == [0] * 3 + [1] + [0] * 7
    assert of("style and composition", 11) == [0, 0, 0, 0.5, 0, 0, 1, 0, 0, 0, 0]
    assert of("weak input")[:2] == [0.2, 0.2] and of("weak output")[-1] == 0.2
    assert of("strong middle")[8] == 1.0 and of("strong middle")[0] == 0.2
