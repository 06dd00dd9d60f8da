"""LoRAs, and PEFT's OFT and (IA)3, through the whole engine on Qwen-Image and Z-Image of random weights."""

import json

import numpy as np
import pytest
import torch

from modules.requests.events import ImageReady, Warned
from tests.families import test_z_image
from tests.families.tiny_language import SENTENCE, drawing, named, picture
from tests.networks.files import write
from tests.tiny_token_control import lively_qwen

FAMILIES = {"qwen-image": lively_qwen, "z-image": test_z_image.Tiny}


@pytest.fixture(scope="module", params=FAMILIES)
def tiny(request, tmp_path_factory):
    return FAMILIES[request.param](tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def run(tiny, folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("engine")
    (place / "models" / "Lora").mkdir(parents=True)
    run = drawing(None, place, tiny.tensors, tiny.tokenizers)
    return place / "models" / "Lora", run


def matrices(tiny):
    """The projections of its attention, by diffusers' names."""
    return {
        name.removesuffix(".weight"): value
        for name, value in named(tiny.network).items()
        if name.endswith(("to_q.weight", "to_v.weight"))
    }


def draw(run, tag):
    events = run(prompt=f"{SENTENCE}{tag}", cfg_scale=1.0)
    assert not [event for event in events if isinstance(event, Warned)]
    assert any(isinstance(event, ImageReady) for event in events), events
    return picture(events)


@pytest.fixture(scope="module")
def by_hand(tiny, tmp_path_factory):
    """A function that draws with those tensors in the checkpoint itself."""

    def draw_by_hand(new):
        tensors = dict(tiny.tensors)
        own = {**named(tiny.network), **new}
        if isinstance(tiny, test_z_image.Tiny):
            own = test_z_image.original(own)
        tensors |= {f"model.diffusion_model.{name}": value.contiguous() for name, value in own.items()}
        return draw(drawing(None, tmp_path_factory.mktemp("by hand"), tensors, tiny.tokenizers), "")

    return draw_by_hand


def rand(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def low_rank(name, matrix):
    seed = sum(map(ord, name))
    return rand(len(matrix), 2, seed=seed) * 0.1, rand(2, matrix.shape[1], seed=seed + 1)


@pytest.mark.parametrize("form", ["kohya", "diffusers", "peft"])
def test_a_lora_is_as_the_same_matrices_in_the_checkpoint(tiny, run, by_hand, form):
    place, ask = run
    tensors = {}
    for name, matrix in matrices(tiny).items():
        up, down = low_rank(name, matrix)
        if form == "kohya":
            flat = f"lora_unet_{name.replace('.', '_')}"
            tensors |= {
                f"{flat}.lora_up.weight": up,
                f"{flat}.lora_down.weight": down,
                f"{flat}.alpha": torch.tensor(2.0),
            }
        else:
            before = "transformer" if form == "diffusers" else "base_model.model"
            tensors |= {f"{before}.{name}.lora_B.weight": up, f"{before}.{name}.lora_A.weight": down}
    write(place / f"{form}.safetensors", tensors)
    plain, found = draw(ask, ""), draw(ask, f"<lora:{form}:0.5>")

    new = {}
    for name, matrix in matrices(tiny).items():
        up, down = low_rank(name, matrix)
        new[f"{name}.weight"] = matrix + 0.5 * up @ down
    assert np.abs(found - by_hand(new)).max() <= 1
    assert np.abs(found - plain).max() > 5
    assert np.array_equal(draw(ask, ""), plain)


@pytest.mark.parametrize("kind", ["ia3", "oft"])
def test_adapters_of_peft(tiny, run, by_hand, kind):
    place, ask = run
    tensors, new = {}, {}
    for name, matrix in matrices(tiny).items():
        seed = sum(map(ord, name))
        if kind == "ia3":
            scales = 1 + rand(len(matrix), 1, seed=seed)
            tensors[f"base_model.model.{name}.ia3_l"], new[f"{name}.weight"] = scales, matrix * scales
            if (bias := named(tiny.network).get(f"{name}.bias")) is not None:
                new[f"{name}.bias"] = bias * scales[:, 0]
        else:
            angles = rand(matrix.shape[1] // 2, 1, seed=seed)
            tensors[f"base_model.model.{name}.oft_R.weight"] = angles
            turns = [
                torch.tensor([[1 - q * q, -2 * q], [2 * q, 1 - q * q]]) / (1 + q * q) for q in angles.flatten().tolist()
            ]
            new[f"{name}.weight"] = matrix @ torch.block_diag(*turns).T
    write(place / kind / f"{kind}_adapter.safetensors", tensors)
    (place / kind / "adapter_config.json").write_text(json.dumps({"peft_type": "OFT", "use_cayley_neumann": False}))
    plain, found = draw(ask, ""), draw(ask, f"<lora:{kind}_adapter:1>")
    assert np.abs(found - by_hand(new)).max() <= 1
    assert np.abs(found - plain).max() > 5
