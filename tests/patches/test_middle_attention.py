"""The middle block's self-attention, replaced and watched."""

import torch

from modules.patches.middle_attention import Watch, identity_attention, watched_attention
from tests.patches.unets import ask, inputs, small_unet


def test_identity_passes_each_tokens_own_value():
    unet = small_unet()
    layer = unet.mid_block.attentions[0].transformer_blocks[0].attn1
    tokens = torch.randn(2, 16, 128)
    with identity_attention(unet):
        assert torch.equal(layer(tokens), layer.to_out[0](layer.to_v(tokens)))
    assert not torch.allclose(layer(tokens), layer.to_out[0](layer.to_v(tokens)))


def test_watch_sums_what_each_place_gets():
    unet = small_unet()
    layer = unet.mid_block.attentions[0].transformer_blocks[0].attn1
    seen = []
    layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x, context = inputs(2, 16, 24)
    watch = Watch()
    with watched_attention(unet, watch):
        ask(unet, x, context)
    assert watch.received.shape == (2, 4, 6)
    tokens, width = seen[0], 128 // layer.heads
    for b in range(2):
        total = torch.zeros(24)
        for head in range(layer.heads):
            part = slice(head * width, (head + 1) * width)
            q, k = layer.to_q(tokens[b])[:, part], layer.to_k(tokens[b])[:, part]
            for query in q:
                total += (k @ query / width**0.5).softmax(dim=0) / layer.heads
        assert torch.allclose(watch.received[b].flatten(), total, atol=1e-5)
