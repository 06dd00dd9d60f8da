"""First-block caching on tiny transformers of several shapes."""

from typing import Any

import pytest
import torch

from modules.patches.caching import Rows
from modules.patches.first_block_cache import blocks_of, first_block_cache
from tests.patches.unets import small_unet
from tests.tiny_flux import tiny_chroma, tiny_flux
from tests.tiny_modern import CLIP_WIDTH
from tests.tiny_sd3 import WIDTH, tiny_aura, tiny_sd3

BOTH = (("cond", 1), ("uncond", 1))


def flux(network, x, length):
    ids = {"img_ids": torch.zeros(x.shape[1], 3), "txt_ids": torch.zeros(length, 3)}
    values: dict[str, Any] = {"encoder_hidden_states": torch.ones(len(x), length, 32), **ids}
    if "Chroma" in type(network).__name__:
        values["attention_mask"] = torch.ones(len(x), length + x.shape[1])
    else:
        values.update(pooled_projections=torch.ones(len(x), CLIP_WIDTH), guidance=torch.ones(len(x)))
    return network(x, timestep=torch.full((len(x),), 0.5), **values, return_dict=False)[0]


def sd3(network, x, length):
    states, pooled = torch.ones(len(x), length, WIDTH), torch.ones(len(x), 2 * CLIP_WIDTH)
    t = torch.full((len(x),), 500.0)
    return network(x, states, pooled_projections=pooled, timestep=t, return_dict=False)[0]


def aura(network, x, length):
    states = torch.ones(len(x), length, network.config.joint_attention_dim)
    return network(x, encoder_hidden_states=states, timestep=torch.full((len(x),), 0.5), return_dict=False)[0]


KINDS: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "flux": (tiny_flux, flux, (2, 16, 64)),
    "chroma": (tiny_chroma, flux, (2, 16, 64)),
    "sd3": (tiny_sd3, sd3, (2, 16, 8, 8)),
    "aura": (tiny_aura, aura, (2, 4, 8, 8)),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    build, ask, shape = KINDS[request.param]
    network = build().eval().requires_grad_(False)
    return network, ask, torch.randn(shape, generator=torch.Generator().manual_seed(3))


def counted(network):
    """Calls of the last block, one entry each; hooks run inside what stands for it or not at all."""
    calls = []
    inner = network.proj_out.register_forward_hook(lambda *_: calls.append("end"))
    part = next(module for name, module in blocks_of(network)[-1].named_modules() if name.endswith("to_q"))
    handle = part.register_forward_hook(lambda *_: calls.append("block"))
    return calls, (inner, handle)


def test_reuses_what_has_not_changed(kind):
    network, ask, x = kind
    plain = ask(network, x, 7)
    calls, handles = counted(network)
    rows = Rows()
    with first_block_cache(network, rows, threshold=0.05):
        for call in range(3):
            rows(call, BOTH)
            torch.testing.assert_close(ask(network, x, 7), plain, rtol=1e-3, atol=1e-4)
    for handle in handles:
        handle.remove()
    assert calls.count("block") == 1
    assert calls.count("end") == 3
    assert torch.equal(ask(network, x, 7), plain)
    assert not any("forward" in vars(module) for module in network.modules())


def test_computes_what_has_changed(kind):
    network, ask, x = kind
    other = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    plain = ask(network, other, 7)
    rows = Rows()
    with first_block_cache(network, rows, threshold=1e-4):
        for call, given in enumerate((x, other)):
            rows(call, BOTH)
            answer = ask(network, given, 7)
    assert torch.equal(answer, plain)
    for unlike in ((), (("cond", 2),), (("other", 1), ("uncond", 1))):  # whose rows are not those of before
        rows = Rows()
        with first_block_cache(network, rows, threshold=1.0):
            rows(0, BOTH)
            ask(network, x, 7)
            rows(1, unlike)
            assert torch.equal(ask(network, other, 7), plain)


def test_each_row_is_decided_by_itself(kind):
    network, ask, x = kind
    changed = torch.stack([x[0], -x[1]])

    def second(rows_of, first, then):
        rows = Rows()
        with first_block_cache(network, rows, threshold=0.01):
            rows(0, rows_of)
            ask(network, first, 7)
            rows(1, rows_of)
            return ask(network, then, 7)

    together = second(BOTH, x, changed)
    alone = [second(((group, 1),), x[i : i + 1], changed[i : i + 1]) for i, (group, _) in enumerate(BOTH)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-3, atol=1e-4)


def test_a_prompt_of_another_length_is_computed(kind):
    network, ask, x = kind
    plain = ask(network, x, 9)
    rows = Rows()
    with first_block_cache(network, rows, threshold=1.0):
        rows(0, BOTH)
        ask(network, x, 7)
        rows(1, BOTH)
        answer = ask(network, x, 9)
    torch.testing.assert_close(answer, plain, rtol=1e-3, atol=1e-4)


def test_knows_transformers_alone():
    assert blocks_of(small_unet()) == []
    assert blocks_of(object()) == []
