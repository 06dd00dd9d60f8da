"""Types by card and flags, and layers that compute in float32 with weights in float16."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from modules.core.errors import InputError
from modules.core.flags import parse_flags
from modules.devices.choice import Compute, choose_compute
from modules.devices.precision import Card, Types, types_for, upcast_layers
from modules.devices.residence import Meter, OneAtATime, Streamed
from tests.tiny import tiny_parts

HALF, BRAIN, FULL = torch.float16, torch.bfloat16, torch.float32
CPU = torch.device("cpu")
PASCAL = Card(name="NVIDIA GeForce GTX 1080", capability=(6, 1), bfloat16=False)
TURING = Card(name="NVIDIA GeForce RTX 2070", capability=(7, 5), bfloat16=False)
SIXTEEN = Card(name="NVIDIA GeForce GTX 1660 Ti", capability=(7, 5), bfloat16=False)
AMPERE = Card(name="NVIDIA GeForce RTX 3060", capability=(8, 6), bfloat16=True)
MAXWELL = Card(name="NVIDIA GeForce GTX 980", capability=(5, 2), bfloat16=False)


@pytest.mark.parametrize(
    ("card", "flags", "dtype", "vae", "upcast"),
    [
        (PASCAL, (), HALF, HALF, False),
        (TURING, (), HALF, HALF, False),
        (AMPERE, (), HALF, HALF, False),
        (MAXWELL, (), FULL, FULL, False),
        (SIXTEEN, (), HALF, FULL, True),
        (SIXTEEN, ("half",), HALF, HALF, False),
        (SIXTEEN, ("no_half",), FULL, FULL, False),
        (TURING, ("upcast_sampling",), HALF, HALF, True),
        (AMPERE, ("upcast_sampling",), BRAIN, BRAIN, False),
        (AMPERE, ("upcast_sampling", "no_half_vae"), BRAIN, FULL, False),
        (AMPERE, ("no_half", "upcast_sampling"), FULL, FULL, False),
        (AMPERE, ("no_half_vae",), HALF, FULL, False),
    ],
)
def test_types(card, flags, dtype, vae, upcast):
    assert types_for(card, flags) == Types(dtype=dtype, vae_dtype=vae, upcast=upcast)


def test_the_cpu_stays_as_it_is():
    assert choose_compute(use_cpu=True, precision=("half",)) == Compute(device=CPU, dtype=FULL, vae_dtype=FULL)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], ()),
        (["--precision", "autocast"], ()),
        (["--precision", "full"], ("no_half",)),
        (["--precision", "full", "--no-half"], ("no_half",)),
        (["--precision", "half", "--no-half-vae"], ("half", "no_half_vae")),
        (["--upcast-sampling", "--no-half-vae"], ("no_half_vae", "upcast_sampling")),
    ],
)
def test_flags(given, words):
    flags = parse_flags(given)
    assert (flags.precision, flags.no_half, flags.nan_check) == (words, "no_half" in words, True)
    assert not parse_flags(["--disable-nan-check"]).nan_check


@pytest.mark.parametrize("given", [["--precision", "half", "--no-half"], ["--precision", "double"], ["--precision"]])
def test_flags_that_make_no_sense(given):
    with pytest.raises(InputError, match="--precision"):
        parse_flags(given)


def test_finer_and_finer_until_float32():
    compute: Compute | None = Compute(device=CPU, dtype=HALF, vae_dtype=HALF)

    def ladder(start: Compute, *, upcasts: bool) -> list[str]:
        found, now = [], start
        while now:
            found.append(now.words)
            now = now.finer(upcasts=upcasts)
        return found

    assert ladder(compute, upcasts=True) == ["float16", "float32 with weights in float16", "float32"]
    assert ladder(compute, upcasts=False) == ["float16", "float32"]
    assert ladder(replace(compute, bfloat16=True), upcasts=True) == ["float16", "bfloat16", "float32"]


@pytest.mark.parametrize("policy", [None, OneAtATime, Streamed])
@torch.inference_mode()
def test_upcast_layers_compute_in_float32_and_keep_their_weights(policy):
    torch.manual_seed(0)
    x, context = torch.randn(1, 4, 8, 8), torch.randn(1, 77, 64)
    unet = tiny_parts()["unet"].eval().half()

    def call() -> torch.Tensor:
        return unet(x, torch.tensor(500.0), encoder_hidden_states=context).sample

    expected = unet.float()
    expected = call()
    unet.half()
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    upcast_layers(unet)
    if policy:
        policy(CPU, Meter()).attach([[unet]])
    for _ in range(2):
        torch.testing.assert_close(call(), expected)
    assert all(value.dtype is HALF and torch.equal(value, before[name]) for name, value in unet.state_dict().items())


def test_weights_are_put_back_when_a_layer_fails():
    layer = nn.Linear(4, 4).half().requires_grad_(False)
    upcast_layers(layer)
    with pytest.raises(RuntimeError):
        layer(torch.ones(1, 5))
    assert layer.weight.dtype is HALF
