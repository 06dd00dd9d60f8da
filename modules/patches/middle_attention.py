"""The self-attention of a U-Net's middle block: replaced by the identity, or watched."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from modules.patches.hooks import argument, hooks


@contextmanager
def identity_attention(unet: Any) -> Iterator[None]:
    """Each token attends to itself alone: softmax(Q K^T) V becomes V (arXiv:2403.17377, section 4)."""
    layers = [block.attn1 for part in unet.mid_block.attentions for block in part.transformer_blocks]
    before = [layer.processor for layer in layers]
    try:
        for layer in layers:
            layer.processor = _Identity()
        yield
    finally:
        for layer, processor in zip(layers, before, strict=True):
            layer.processor = processor


class _Identity:
    """An attention processor, as diffusers calls them."""

    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        project, dropout = attn.to_out
        return dropout(project(attn.to_v(hidden_states)))


class Watch:
    """`received`: how much attention each place got in the U-Net's latest call: (B, h, w) float32, the sum over queries of the
    mean over heads of softmax(Q K^T / sqrt(d)) in the first layer, 1 on average."""

    received: Tensor


@contextmanager
def watched_attention(unet: Any, watch: Watch) -> Iterator[None]:
    """Every call writes into `watch`."""
    part = unet.mid_block.attentions[0]
    layer = part.transformer_blocks[0].attn1
    size = [0, 0]

    def measure(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        size[:] = argument(args, kwargs, 0, "hidden_states").shape[-2:]

    def look(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        watch.received = received(layer, argument(args, kwargs, 0, "hidden_states")).unflatten(1, size)

    with hooks() as hook:
        hook.before(part, measure)
        hook.before(layer, look)
        yield


def received(attn: Any, tokens: Tensor) -> Tensor:
    """(B, N, C) -> (B, N): the attention each token gets of all, from a diffusers attention layer's own Q and K."""
    q, k = (project(tokens).unflatten(2, (attn.heads, -1)).transpose(1, 2) for project in (attn.to_q, attn.to_k))
    weights = ((q.float() @ k.float().transpose(2, 3)) * q.shape[-1] ** -0.5).softmax(dim=-1)  # (B, heads, N, N)
    return weights.mean(dim=1).sum(dim=1)
