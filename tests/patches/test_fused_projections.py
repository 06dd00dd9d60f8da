"""Fused projections: the same answers but for rounding, weights that are shared and not copied, and exact restoring."""

import copy

import pytest
import torch

from modules.devices.attention import route
from modules.devices.kernels import chunked
from modules.patches.fused_projections import Fused, fuse, shares
from modules.patches.middle_attention import identity_attention
from tests.patches.unets import ask, inputs, small_unet


@pytest.fixture
def unet():
    return small_unet()


def attention_of(unet):
    return unet.mid_block.attentions[0].transformer_blocks[0]


def near(a, b):
    torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_the_same_answers_and_the_same_weights(unet):
    x, context = inputs()
    wanted, state = ask(unet, x, context), copy.deepcopy(unet.state_dict())
    count = sum(1 for module in unet.modules() if hasattr(module, "is_cross_attention"))
    assert fuse(unet) == count > 0
    assert fuse(unet) == 0
    near(ask(unet, x, context), wanted)
    after = unet.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in state.items())


@torch.inference_mode()
def test_what_changes_a_weight_changes_the_answer(unet):
    """In place, put in its place, and by a hook, as networks added to a model do it."""
    x, context = inputs()
    fuse(unet)
    layer = attention_of(unet).attn1.to_v
    before = layer.weight.data
    for change in (lambda: layer.weight.data.mul_(2), lambda: setattr(layer.weight, "data", before * 3)):
        change()
        plain = small_unet()
        attention_of(plain).attn1.to_v.weight.data = layer.weight.data.clone()
        near(ask(unet, x, context), ask(plain, x, context))
    assert not shares(attention_of(unet).attn1)
    assert fuse(unet) == 1
    assert shares(attention_of(unet).attn1)
    handle = attention_of(unet).attn2.to_k.register_forward_hook(lambda module, given, found: found * 2)
    assert not shares(attention_of(unet).attn2)
    handle.remove()


@torch.inference_mode()
def test_beside_other_kernels_and_patches(unet):
    x, context = inputs()
    wanted = ask(unet, x, context)
    with identity_attention(unet):
        alone = ask(unet, x, context)
    route(unet, chunked)
    fuse(unet)
    assert isinstance(attention_of(unet).attn1.processor, Fused)
    route(unet, chunked)
    near(ask(unet, x, context), wanted)
    with identity_attention(unet):
        near(ask(unet, x, context), alone)


def test_the_weights_are_there_once(unet):
    def held():
        pointers = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in unet.parameters()}
        return sum(pointers.values())

    before = held()
    fuse(unet)
    assert held() == before
