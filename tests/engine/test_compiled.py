"""Pictures through OpenVINO, from the folder to the file, beside PyTorch's."""

import re

import numpy as np
import pytest
import torch

from modules.core.paths import Paths
from modules.devices.compiled import CompiledPart
from modules.engine.build import build_engine
from modules.requests.events import Loading, Warned
from tests.engine import test_families
from tests.engine.test_controlling import noise
from tests.engine.test_families import pictures
from tests.networks.files import write, write_lora
from tests.tiny import tiny_parts, write_tiny
from tests.tiny_control import tiny_controlnet, write_controlnet

CHECKPOINT = "one.safetensors"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    data = tmp_path_factory.mktemp("compiled")
    write_tiny(data / "models" / "Stable-diffusion" / CHECKPOINT)
    return data


@pytest.fixture(scope="module")
def engine(data):
    return build_engine(paths=Paths(data=data), use_cpu=True, cpu_precision="fp32")


@pytest.fixture(scope="module")
def exact(data):
    return build_engine(paths=Paths(data=data), use_cpu=True)


def run(engine, name, **values):
    """Without weights in the prompt: the mean of random states is near 0, and scaling by it makes much of rounding."""
    return test_families.run(engine, name, **{"prompt": "a red star", **values})


def near(a, b):
    return np.abs(pictures(a) - pictures(b)).max() <= 2


def test_the_same_picture_and_converted_once(data, engine, exact):
    first = run(engine, CHECKPOINT)
    made = [event.name for event in first if isinstance(event, Loading)]
    assert [name.removesuffix(" for this CPU (once)") for name in made[1:]] == [
        "the U-Net",
        "the text encoder",
        "the decoder",
    ]
    assert near(first, run(exact, CHECKPOINT))
    again = build_engine(paths=Paths(data=data), use_cpu=True, cpu_precision="fp32")
    events = run(again, CHECKPOINT)
    assert [event.name for event in events if isinstance(event, Loading)] == [CHECKPOINT]
    assert np.array_equal(pictures(events), pictures(first))


@pytest.mark.parametrize(
    "values", [{"width": 72, "height": 104}, {"batch_size": 3, "cfg_scale": 1}, {"prompt": "a, " * 80}]
)
def test_any_size_batch_and_prompt(engine, exact, values):
    assert near(run(engine, CHECKPOINT, **values), run(exact, CHECKPOINT, **values))


def test_a_picture_does_not_depend_on_its_batch(engine):
    both = pictures(run(engine, CHECKPOINT, batch_size=2))
    assert np.array_equal(both[:1], pictures(run(engine, CHECKPOINT)))


def test_what_changes_the_network_is_computed_by_pytorch(engine, exact):
    values = {"freeu": {"b1": 1.4}, "self_attention_guidance": {}}
    events = run(engine, CHECKPOINT, **values)
    assert [e.message for e in events if isinstance(e, Warned)] == [
        "PyTorch computes this picture, more slowly than OpenVINO: freeu needs it."
    ]
    assert near(events, run(exact, CHECKPOINT, **values))


def test_what_cannot_be_quantised_is_drawn_with_and_not_tried_at_every_picture(data, exact, monkeypatch):
    asked = []

    def free(device):
        asked.append(device)
        return 10

    monkeypatch.setattr("modules.devices.compiled.free_memory", free)
    engine = build_engine(paths=Paths(data=data), use_cpu=True, cpu_precision="int8")
    first, second = run(engine, CHECKPOINT), run(engine, CHECKPOINT)
    assert np.array_equal(pictures(first), pictures(second))
    assert len(asked) == 1
    (warned,) = [event.message for event in first if isinstance(event, Warned)]
    assert re.match(r"The U-Net stays in bfloat16, it could not be quantised: that needs [\d.]+ GB of memory", warned)
    assert not [event for event in second if isinstance(event, Warned)]
    assert not any("drawing to measure" in event.name for event in first if isinstance(event, Loading))


@pytest.fixture(scope="module")
def networks(data):
    """A LoRA, an embedding and a hypernetwork."""
    models = data / "models"
    write_lora(models / "Lora" / "style.safetensors")
    write(data / "embeddings" / "glow.safetensors", {"emb_params": torch.randn(2, 64) / 8})
    (models / "hypernetworks").mkdir(exist_ok=True)
    torch.manual_seed(0)
    torch.save({64: (hyper(64), hyper(64)), "activation_func": "swish"}, models / "hypernetworks" / "hyper.pt")


def hyper(width):
    return {
        "linear.0.weight": torch.randn(2 * width, width) / 8,
        "linear.0.bias": torch.zeros(2 * width),
        "linear.2.weight": torch.randn(width, 2 * width) / 8,
        "linear.2.bias": torch.zeros(width),
    }


@pytest.mark.parametrize(
    "prompt",
    [
        "a red star <lora:style:1>",
        "a red star <lora:style:0.5:0.7:start=1:stop=0.8>",
        "a glow star",
        "a red star <hypernet:hyper:0.8>",
        "a glow star <lora:style:0.6><hypernet:hyper:0.5>",
    ],
)
def test_networks_are_put_on_and_leave_nothing(networks, engine, exact, prompt):
    bare = pictures(run(engine, CHECKPOINT))
    events = run(engine, CHECKPOINT, prompt=prompt)
    assert not [event for event in events if isinstance(event, Warned)]
    assert near(events, run(exact, CHECKPOINT, prompt=prompt))
    assert not np.array_equal(pictures(events), bare)
    assert np.array_equal(pictures(run(engine, CHECKPOINT)), bare)


def test_another_lora_or_weight_compiles_nothing(networks, data, engine, exact, monkeypatch):
    """Two at two weights each, of linear layers and of convolutions of one place; one of larger convolutions goes another way."""
    tensors: dict[str, torch.Tensor] = {}
    for name, module in tiny_parts()["unet"].named_modules():
        if name.endswith(("proj_in", "proj_out", "ff.net.2", "conv_shortcut")):
            tensors |= low_rank(name, module, 3)
    write(data / "models" / "Lora" / "places.safetensors", tensors)
    write(data / "models" / "Lora" / "window.safetensors", low_rank("conv_in", tiny_parts()["unet"].conv_in, 2))
    prompts = [
        "a red star <lora:places:1>",
        "a red star <lora:places:0.6><lora:style:0.5>",
        "a red star <lora:style:1>",
        "a red star <lora:places:1:dyn=1>",
    ]
    bare = pictures(run(engine, CHECKPOINT))
    run(engine, CHECKPOINT, prompt="<lora:style:0.3>")
    compiled, compile_one = [], CompiledPart._compile
    monkeypatch.setattr(CompiledPart, "_compile", lambda *given: compiled.append(1) or compile_one(*given))
    for prompt in prompts:
        found = run(engine, CHECKPOINT, prompt=prompt)
        assert near(found, run(exact, CHECKPOINT, prompt=prompt))
        assert not np.array_equal(pictures(found), bare)
    assert np.array_equal(pictures(run(engine, CHECKPOINT)), bare)
    assert not compiled
    prompt = "a red star <lora:style:1><lora:window:1>"
    assert near(run(engine, CHECKPOINT, prompt=prompt), run(exact, CHECKPOINT, prompt=prompt))
    assert compiled


def low_rank(name, module, rank):
    """A LoRA of one layer of the U-Net, as kohya writes it."""
    out, into, *window = module.weight.shape
    torch.manual_seed(out + into)
    name = f"lora_unet_{name.replace('.', '_')}"
    return {
        f"{name}.lora_down.weight": torch.randn(rank, into, *window) / 8,
        f"{name}.lora_up.weight": torch.randn(out, rank, *[1] * len(window)) / 2,
        f"{name}.alpha": torch.tensor(float(rank)),
    }


def test_a_controlnet_steers_it(data, engine, exact):
    """From a fifth of the way on; without it the picture is the same as before, to the last bit."""
    write_controlnet(data / "models" / "ControlNet" / "canny.safetensors", tiny_controlnet(1), "ldm")
    unit = {"model": "canny", "image": noise(1), "guidance_start": 0.2}
    bare = pictures(run(engine, CHECKPOINT))
    events = run(engine, CHECKPOINT, control=(unit,))
    assert not [event for event in events if isinstance(event, Warned)]
    assert "the ControlNet for this CPU (once)" in [event.name for event in events if isinstance(event, Loading)]
    assert near(events, run(exact, CHECKPOINT, control=(unit,)))
    assert not np.array_equal(pictures(events), bare)
    assert np.array_equal(pictures(run(engine, CHECKPOINT)), bare)


def test_a_network_is_put_on_for_both_passes_of_hires_fix(networks, engine, exact):
    values = {"prompt": "a red star <lora:style:1>", "enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent"}
    assert near(run(engine, CHECKPOINT, **values), run(exact, CHECKPOINT, **values))


def test_missing_networks_are_told(networks, engine, exact):
    prompt = "a star <lora:none:1>"
    events = run(engine, CHECKPOINT, prompt=prompt)
    (told,) = [event.message for event in events if isinstance(event, Warned)]
    assert told.startswith("Networks not found: none. ")
    assert near(events, run(exact, CHECKPOINT, prompt=prompt))
