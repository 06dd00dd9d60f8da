"""Attention kernels: each equals PyTorch's, on whole networks too; one that does not work here is told of, not used."""

import re
from typing import Any, get_args

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from modules.core.errors import UnknownName
from modules.core.flags import ATTENTION, parse_flags
from modules.core.registry import Registry
from modules.core.settings import Optimizations, Settings
from modules.devices import kernels
from modules.devices.attention import Attention, Attentions, build_attentions, route, tried
from tests.tiny import tiny_parts
from tests.tiny_flux import tiny_flux

CPU = torch.device("cpu")
WORKING = [name for name, one in build_attentions().items() if not one.gpu]
OURS = [kernels.chunked, kernels.split, kernels.plain, kernels.without_memory_efficient]


def options(name: str = "Automatic", *, upcast: bool = False) -> dict[str, Any]:
    return Settings().changed({"cross_attention_optimization": name, "upcast_attn": upcast}).flat()


def unet_call():
    torch.manual_seed(0)
    unet, x, context = tiny_parts()["unet"].eval(), torch.randn(2, 4, 8, 8), torch.randn(2, 77, 64)
    return unet, lambda: unet(x, torch.tensor(500.0), encoder_hidden_states=context).sample


def flux_call():
    torch.manual_seed(0)
    network = tiny_flux().eval()
    inputs = {
        "hidden_states": torch.randn(1, 16, 64),
        "encoder_hidden_states": torch.randn(1, 8, 32),
        "pooled_projections": torch.randn(1, network.config.pooled_projection_dim),
        "timestep": torch.tensor([0.5]),
        "guidance": torch.tensor([3.5]),
        "img_ids": torch.zeros(16, 3),
        "txt_ids": torch.zeros(8, 3),
    }
    return network, lambda: network(**inputs).sample


@pytest.mark.parametrize("make", [unet_call, flux_call])
@pytest.mark.parametrize("name", WORKING)
@torch.inference_mode()
def test_networks_compute_the_same_with_each(name, make):
    network, call = make()
    expected = call()
    before = [getattr(module, "processor", None) for module in network.modules()]
    assert Attentions(CPU).put([network], options(name)) is None
    torch.testing.assert_close(call(), expected, atol=1e-4, rtol=1e-4)
    Attentions(CPU).put([network], options("sdp - scaled dot product"))
    assert [getattr(module, "processor", None) for module in network.modules()] == before


@pytest.mark.parametrize("make", [unet_call, flux_call])
@torch.inference_mode()
def test_every_attention_of_a_network_asks_the_kernel(make):
    network, call = make()
    calls = []

    def counted(q: Any, k: Any, v: Any, *rest: Any, **kwargs: Any) -> Any:
        calls.append(q.shape)
        return scaled_dot_product_attention(q, k, v, *rest, **kwargs)

    route(network, counted)
    call()
    assert len(calls) == len([m for m in network.modules() if getattr(m, "processor", None)])
    route(network, scaled_dot_product_attention)
    call()
    assert len(calls) == len([m for m in network.modules() if getattr(m, "processor", None)])


@pytest.mark.parametrize("kernel", OURS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_kernels_over_several_chunks(kernel, dtype, monkeypatch):
    monkeypatch.setattr(kernels, "QUERIES", 7)
    monkeypatch.setattr(kernels, "KEYS", 5)
    monkeypatch.setattr(kernels, "SPLIT_BYTES", 4096)
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 3, n, 16, generator=generator).to(dtype) for n in (23, 19, 19))
    for scale in (None, 0.5):
        expected = scaled_dot_product_attention(q.float(), k.float(), v.float(), scale=scale)
        close = 1e-5 if dtype is torch.float32 else 1e-2
        torch.testing.assert_close(kernel(q, k, v, scale=scale).float(), expected, atol=close, rtol=close)


@pytest.mark.parametrize("kernel", OURS)
def test_kernels_take_masks_and_causality(kernel):
    q, k, v = (torch.randn(1, 2, 6, 16) for _ in range(3))
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    expected = scaled_dot_product_attention(q, k, v, mask)
    torch.testing.assert_close(kernel(q, k, v, mask), expected)
    torch.testing.assert_close(kernel(q, k, v, is_causal=True), expected)


def test_large_scores_stay_finite_in_float16():
    q = k = torch.full((1, 1, 4, 64), 40.0, dtype=torch.float16)  # Q K^T is 102,400 before it is scaled
    v = torch.randn(1, 1, 4, 64).half()
    assert kernels.chunked(q, k, v).isfinite().all()
    assert kernels.upcast(kernels.split)(q, k, v).isfinite().all()
    assert kernels.upcast(kernels.split)(q, k, v).dtype is torch.float16


def test_one_that_does_not_work_is_told_of_and_not_used():
    unet, call = unet_call()
    expected = call()
    for name in ("xformers", "flash", "sage"):
        assert "needs an NVIDIA GPU; PyTorch's own" in (Attentions(CPU).put([unet], options(name)) or "")
        assert not any(hasattr(getattr(m, "processor", None), "unrouted") for m in unet.modules())
    torch.testing.assert_close(call(), expected)


def make_missing() -> Any:
    raise ImportError("no such module")


def make_broken() -> Any:
    raise RuntimeError("no kernel image is available")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_missing, "not installed"),
        (make_broken, r"does not work here \(RuntimeError\)"),
        (lambda: lambda q, k, v: v, "computes wrongly"),
        (lambda: lambda q, k, v: v * float("nan"), "computes wrongly"),
    ],
)
def test_a_kernel_is_tried_before_it_is_used(make, words):
    registry: Registry[Attention] = Registry("cross_attention_optimization")
    registry.add("sdp", Attention(make=lambda: scaled_dot_product_attention))
    registry.add("Odd", Attention(make=make))
    attentions = Attentions(CPU, "odd", registry)
    assert re.search(words, attentions.trouble("Odd") or "")
    assert attentions.put([unet_call()[0]], options()) == attentions.trouble("odd")


def test_each_flag_names_one_and_each_setting_too():
    registry = build_attentions()
    for flags, name, _ in ATTENTION:
        for flag in flags:
            given = parse_flags([flag]).attention
            assert given == name
            assert name in registry
    choices = Optimizations.model_fields["cross_attention_optimization"].annotation
    assert set(get_args(choices)) == {"Automatic", *registry}
    with pytest.raises(UnknownName, match="Nearest"):
        Attentions(CPU, "subquadratic")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", list(build_attentions()))
def test_what_is_installed_works_on_the_gpu(name):
    found = tried(name, build_attentions().get(name), torch.device("cuda", 0))
    assert callable(found) or "not installed" in found
