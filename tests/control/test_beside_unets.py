"""Control-LoRA and ControlNet-LLLite, which are made for one U-Net: what they give is what their formulas give, and it stays as it was."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from modules.control.control_lora import build_control_lora
from modules.control.kinds import CONTROL_LORA, LLLITE, kind_of
from modules.control.lllite import LiteUnit, build_lllite
from modules.control.turns import Moment
from modules.core.errors import InputError, ModelFileError
from modules.families.weights import read_weights, shapes_of
from modules.patches.hooks import hooks
from modules.requests.control import ControlUnit
from modules.sampling.view import Row
from tests.control.test_controlnet import CPU, call_of
from tests.tiny import tiny_parts
from tests.tiny_control import control_lora_tensors, lllite_tensors, tiny_controlnet, tiny_lites

UNIT = ControlUnit.model_validate({"model": "x"})
ROWS = [Row(0, True), Row(0, False)]


@pytest.fixture
def model() -> Any:
    unet = tiny_parts()["unet"].eval().requires_grad_(False)
    return SimpleNamespace(backbone=unet, family="sd1", name="tiny")


def written(tensors, path):
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    return path


@torch.inference_mode()
def test_a_control_lora_is_the_u_net_and_its_difference(tmp_path, model):
    control = tiny_controlnet()
    tensors, whole = control_lora_tensors(model.backbone, control)
    path = written(tensors, tmp_path / "canny.safetensors")
    assert kind_of(shapes_of(path).shapes, path).name == CONTROL_LORA
    control.load_state_dict(whole)
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    network = build_control_lora(read_weights(path), CPU, path, model)
    call, hint = call_of(), torch.rand(2, 3, 64, 96)
    down, middle = control(*call[:3], hint, return_dict=False)
    found = network.residuals(call, hint)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found.all, (*down, middle), strict=True))
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())
    model.backbone.conv_in.weight.zero_()  # a copy, not a view: what networks do to the U-Net does not reach it
    assert torch.equal(network.residuals(call, hint).all[0], found.all[0])


@torch.inference_mode()
def test_a_control_lora_for_an_inpainting_u_net_reads_the_latents(tmp_path, model):
    tensors, _ = control_lora_tensors(model.backbone, tiny_controlnet())
    path = written(tensors, tmp_path / "canny.safetensors")
    model.backbone = tiny_parts(in_channels=9)["unet"].eval()
    network = build_control_lora(read_weights(path), CPU, path, model)
    call = call_of()
    wide = call._replace(x=torch.cat([call.x, torch.randn(2, 5, 8, 12)], dim=1))
    assert len(network.residuals(wide, torch.rand(2, 3, 64, 96)).all) == 5


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "input_blocks.1.1.proj_in.down",
            torch.zeros(4, 33, 1, 1),
            r"of which 40 of 41 layers fit .* \(not input_blocks.1.1.proj_in\)",
        ),
        ("middle_block.1.proj_out.down", None, "layers fit"),
        ("zero_convs.1.0.weight", None, "lacks the weights controlnet_down_blocks.1.weight"),
    ],
)
def test_a_control_lora_for_another_u_net_says_so_with_counts(tmp_path, model, key, value, said):
    tensors, _ = control_lora_tensors(model.backbone, tiny_controlnet())
    tensors.pop(key)
    if value is not None:
        tensors[key] = value
    with pytest.raises(ModelFileError, match=said):
        build_control_lora(tensors, CPU, tmp_path / "x.safetensors", model)


@pytest.mark.parametrize(("width", "family"), [(768, "sd1"), (1024, "sd2"), (64, "")])
def test_the_family_of_a_control_lora(tmp_path, width, family):
    shapes: dict[str, tuple[int, ...]] = {
        "lora_controlnet": (0,),
        "middle_block.1.transformer_blocks.0.attn2.to_k.down": (128, width),
    }
    assert kind_of(shapes, tmp_path / "x.safetensors").family == family
    assert kind_of({**shapes, "label_emb.0.0.up": (9, 9)}, tmp_path / "x.safetensors").family == "sdxl"


@pytest.mark.parametrize("original", [True, False])
@torch.inference_mode()
def test_lllite_changes_what_layers_are_given(tmp_path, model, original):
    unet, lites = model.backbone, tiny_lites(model.backbone)
    path = written(lllite_tensors(lites, original=original), tmp_path / "canny.safetensors")
    assert kind_of(shapes_of(path).shapes, path).name == LLLITE
    network = build_lllite(read_weights(path), CPU, path)
    assert len(network.layers) == len(lites)
    call, hint = call_of(), torch.rand(1, 3, 64, 96)
    plain = unet(*call[:3]).sample
    given = hint.expand(2, -1, -1, -1)
    with hooks() as hook:
        for name, lite in lites.items():
            hook.before(
                unet.get_submodule(name), lambda args, kwargs, lite=lite: ((lite(args[0], given), *args[1:]), kwargs)
            )
        expected = unet(*call[:3]).sample
    found = answered(model, network, hint)
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(found, plain, atol=1e-2)
    assert torch.equal(unet(*call[:3]).sample, plain)


def answered(model, network, hint, mask=None, rows=ROWS, **unit):
    call = call_of()
    one = LiteUnit(
        unit=UNIT.model_copy(update=unit), layers=network.places(model, "x", "control.0.model"), hints=hint, mask=mask
    )
    with hooks() as hook:
        one.attach(model.backbone, hook, Moment(cell=8, rows=rows))
        return model.backbone(*call[:3]).sample


@torch.inference_mode()
def test_lllite_counts_by_weight_mode_region_and_size(tmp_path, model):
    network = build_lllite(lllite_tensors(tiny_lites(model.backbone)), CPU, tmp_path / "x.safetensors")
    hint, call = torch.rand(1, 3, 64, 96), call_of()
    plain, full = model.backbone(*call[:3]).sample, answered(model, network, hint)
    half = answered(model, network, hint, weight=0.5)
    assert 0 < (half - plain).abs().mean() < (full - plain).abs().mean()
    alone = answered(model, network, hint, control_mode="ControlNet is more important")
    assert torch.allclose(alone[0], full[0], atol=1e-5)
    assert torch.equal(alone[1], plain[1])
    nowhere = answered(model, network, hint, mask=torch.zeros(1, 1, 64, 96))
    assert torch.equal(nowhere, plain)
    odd = call._replace(x=torch.randn(2, 4, 9, 13))
    one = LiteUnit(unit=UNIT, layers=network.places(model, "x", "f"), hints=torch.rand(1, 3, 72, 104))
    with hooks() as hook:
        one.attach(model.backbone, hook, Moment(cell=8, rows=ROWS))
        assert model.backbone(*odd[:3]).sample.shape == odd.x.shape


def test_lllite_for_another_u_net_says_so_with_counts(tmp_path, model):
    tensors = lllite_tensors(tiny_lites(model.backbone))
    network = build_lllite(tensors, CPU, tmp_path / "x.safetensors")
    count = len(network.layers)
    moved = {name.replace("input_blocks_1_1", "input_blocks_7_1"): value for name, value in tensors.items()}
    other = build_lllite(moved, CPU, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=f"of which {count - 4} of {count} modules fit"):
        other.places(model, "x", "control.0.model")


def test_a_damaged_lllite_says_so(tmp_path, model):
    tensors = lllite_tensors(tiny_lites(model.backbone))
    name = next(iter(tensors)).partition(".")[0]
    with pytest.raises(ModelFileError, match=f"lacks up.0 of {name}"):
        build_lllite(
            {key: v for key, v in tensors.items() if not key.startswith(f"{name}.up")}, CPU, tmp_path / "x.pth"
        )
    with pytest.raises(ModelFileError, match="do not fit each other"):
        build_lllite({**tensors, f"{name}.mid.0.weight": torch.zeros(6, 9)}, CPU, tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (("input_blocks_4_1_transformer_blocks_1_attn1_to_q",), "sdxl"),
        (
            ("input_blocks_1_1_transformer_blocks_0_attn1_to_q", "input_blocks_4_1_transformer_blocks_0_attn1_to_q"),
            "sd1",
        ),
        (("input_blocks_7_1_transformer_blocks_0_attn1_to_q",), ""),
    ],
)
def test_the_family_of_a_lllite(tmp_path, names, family):
    shapes = {f"lllite_unet_{name}.down.0.weight": (64, 640) for name in names}
    assert kind_of(shapes, tmp_path / "x.safetensors").family == family
