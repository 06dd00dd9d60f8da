"""What holds for every patch: it changes the answer, each picture by itself, and leaves the model as it was."""

from contextlib import ExitStack

import pytest
import torch

from modules.patches.freeu import freeu
from modules.patches.middle_attention import Watch, identity_attention, watched_attention
from modules.patches.tiling import tiling
from modules.patches.token_merging import token_merging
from tests.patches.unets import ask, inputs, small_unet

PATCHES = {
    "tiling": tiling,
    "token merging": lambda unet: token_merging(unet, 0.5),
    "freeu": lambda unet: freeu(unet, b=(1.3, 1.4), s=(0.9, 0.2)),
    "freeu 1": lambda unet: freeu(unet, b=(1.3, 1.4), s=(0.9, 0.2), adaptive=False),
    "identity": identity_attention,
    "watched": lambda unet: watched_attention(unet, Watch()),
}


@pytest.fixture(scope="module")
def unet():
    return small_unet()


def state(unet):
    """Everything of the modules that a patch might leave changed."""
    return {
        name: (
            getattr(module, "padding_mode", None),
            id(getattr(module, "processor", None)),
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
            "forward" in vars(module),
        )
        for name, module in unet.named_modules()
    }


@pytest.mark.parametrize("name", PATCHES)
def test_changes_the_answer_and_is_undone(unet, name):
    x, context = inputs()
    before, plain = state(unet), ask(unet, x, context)
    with PATCHES[name](unet):
        changed = ask(unet, x, context)
    assert torch.equal(changed, plain) == (name == "watched")
    assert state(unet) == before
    assert torch.equal(ask(unet, x, context), plain)


@pytest.mark.parametrize("name", PATCHES)
def test_is_undone_after_an_exception(unet, name):
    before = state(unet)
    with pytest.raises(ZeroDivisionError), PATCHES[name](unet):
        raise ZeroDivisionError
    with pytest.raises(RuntimeError), PATCHES[name](unet):
        ask(unet, torch.zeros(1, 3, 16, 16), inputs(1)[1])  # a channel is missing
    assert state(unet) == before


@pytest.mark.parametrize("name", PATCHES)
@pytest.mark.parametrize("size", [(16, 16), (20, 12)])
def test_each_picture_by_itself(unet, name, size):
    x, context = inputs(3, *size)
    with PATCHES[name](unet):
        together = ask(unet, x, context)
        alone = torch.cat([ask(unet, x[i : i + 1], context[i : i + 1]) for i in range(3)])
    assert (together - alone).abs().max() < 1e-5


def test_all_at_once_in_any_order(unet):
    x, context = inputs()
    plain, before = ask(unet, x, context), state(unet)
    answers = []
    for names in (list(PATCHES), list(PATCHES)[::-1]):
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(PATCHES[name](unet))
            answers.append(ask(unet, x, context))
        assert state(unet) == before
        assert torch.equal(ask(unet, x, context), plain)
    assert torch.isfinite(answers[0]).all()
    assert not torch.equal(answers[0], plain)


@pytest.mark.parametrize("name", PATCHES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision(name, dtype):
    unet = small_unet().to(dtype)
    x, context = (tensor.to(dtype) for tensor in inputs())
    with PATCHES[name](unet):
        found = ask(unet, x, context)
    assert found.dtype == dtype
    assert torch.isfinite(found).all()
