"""Policies of where weights are: the same numbers under each, and no more on the device than each promises."""

from typing import Any

import pytest
import torch
from torch import nn

from modules.devices.residence import Elsewhere, Meter, OneAtATime, Streamed, layers
from tests.tiny import tiny_parts

CPU = torch.device("cpu")


def sized(module: nn.Module) -> int:
    return sum(p.nbytes for p in (*module.parameters(), *module.buffers()))


def units(part: nn.Module) -> list[nn.Module]:
    """An autoencoder by its halves, as the engine hands it over."""
    return list(part.children()) if hasattr(part, "decoder") else [part]


@pytest.fixture
def parts():
    return {name: part.eval().requires_grad_(False) for name, part in tiny_parts().items()}


@torch.inference_mode()
def answers(parts: dict[str, Any]):
    torch.manual_seed(1)
    x, t, context = torch.randn(2, 4, 8, 8), torch.tensor([3.0, 500.5]), torch.randn(2, 77, 64)
    ids = torch.randint(0, 1000, (1, 77))
    found = []
    for _ in range(2):  # the second time layers are fetched ahead
        found += [
            parts["text"](ids).last_hidden_state,
            parts["unet"](x, t, context).sample,
            parts["vae"](x[:, :3]).sample,
        ]
    return found


def test_one_network_at_a_time(parts):
    wanted, meter = answers(parts), Meter()
    policy = OneAtATime(CPU, meter)
    policy.attach([units(part) for part in parts.values()])
    assert all(map(torch.equal, answers(parts), wanted))
    assert meter.peak == max(map(sized, parts.values()))
    policy.leave()
    assert meter.now == 0


def test_one_layer_at_a_time(parts):
    wanted, meter = answers(parts), Meter()
    policy = Streamed(CPU, meter)
    policy.attach([units(part) for part in parts.values()])
    assert all(map(torch.equal, answers(parts), wanted))
    largest = sorted(sized(layer) for part in parts.values() for layer in layers(part) if not any(layer.children()))
    assert 0 < meter.peak <= sum(largest[-3:])  # one at work, one on its way, and what blocks hold themselves


def test_a_layer_is_little_of_a_network(parts):
    meter = Meter()
    Streamed(CPU, meter).attach([[parts["unet"]]])
    answers(parts)
    assert 0 < meter.peak < 0.3 * sized(parts["unet"])


def test_weights_come_home(parts):
    homes = {name: {key: value.data_ptr() for key, value in part.state_dict().items()} for name, part in parts.items()}
    policy = OneAtATime(CPU, Meter())
    policy.attach([[parts["unet"]], [parts["text"]]])
    Streamed(CPU, Meter()).attach([units(parts["vae"])])
    answers(parts)
    policy.leave()
    del homes["vae"]
    for name, pointers in homes.items():
        assert {key: value.data_ptr() for key, value in parts[name].state_dict().items()} == pointers


def test_every_weight_belongs_to_one_layer(parts):
    for part in parts.values():
        found = [p for layer in layers(part) for p in layer.parameters(recurse=not any(layer.children()))]
        assert len(found) == len({id(p) for p in found}) == len(list(part.parameters()))


def test_a_call_that_fails_leaves_no_layer_behind(parts):
    meter = Meter()
    Streamed(CPU, meter).attach([[parts["unet"]]])
    with pytest.raises(RuntimeError):
        parts["unet"](torch.randn(1, 3, 8, 8), 1, torch.randn(1, 77, 64))
    assert meter.now <= max(sized(layer) for layer in layers(parts["unet"]) if not any(layer.children()))


def test_elsewhere_takes_and_gives_tensors_of_other_types(parts):
    wanted = answers(parts)
    halves = {name: part.half() for name, part in parts.items()}
    Elsewhere(CPU).attach([units(part) for part in halves.values()])
    assert {p.dtype for part in halves.values() for p in part.parameters()} == {torch.float32}
    for found, exact in zip(answers(halves), wanted, strict=True):
        assert found.dtype == torch.float16
        torch.testing.assert_close(found.float(), exact, atol=2e-2, rtol=2e-2)


@torch.inference_mode()
def test_elsewhere_gives_back_to_the_device_and_lets_its_parts_be_called(parts):
    text, ids = parts["text"], torch.randint(0, 1000, (1, 77))
    states = text(ids, output_hidden_states=True).hidden_states
    wanted = text.final_layer_norm(states[-2])
    Elsewhere(torch.device("meta")).attach([[text]])
    assert {state.device.type for state in text(ids, output_hidden_states=True).hidden_states} == {"meta"}
    assert text.final_layer_norm(states[-2]).device.type == "meta"
    with pytest.raises(IndexError):
        text(torch.tensor([[10**6]]))
    Elsewhere(CPU).attach([[layer := torch.nn.Identity()]])
    assert layer(states[-2]).device.type == "cpu"
    assert wanted.shape == states[-2].shape
    assert text(ids).last_hidden_state.device.type == "meta"  # as before the call that failed
