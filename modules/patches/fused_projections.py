"""Attention's projections of one input as one product: Q, K and V of self-attention, K and V of cross-attention.

The joint matrix is where the weights are, not a copy of them: the projections' own weights become views of it, so that what
changes them in place changes it. A module whose weights were put elsewhere since, or that something else has a hand in,
computes them apart.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

PLAIN = "AttnProcessor2_0"


class Fused:
    """diffusers' plain processor `own`, with projections computed at once while their weights are the joint ones."""

    def __init__(self, own: Any) -> None:
        from diffusers.models.attention_processor import FusedAttnProcessor2_0

        self.own = own
        self._at_once = FusedAttnProcessor2_0()

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """As diffusers' AttnProcessor2_0."""
        crossing = encoder_hidden_states is not None
        at_once = crossing == attn.is_cross_attention and (torch.compiler.is_compiling() or shares(attn))
        processor = self._at_once if at_once else self.own
        return processor(attn, hidden_states, encoder_hidden_states, attention_mask, temb, *args, **kwargs)


def fuse(network: nn.Module) -> int:
    """Fuse all attention of a diffusers network that is of the plain kind and not fused yet, or not any more since its weights were
    moved; how many that was."""
    count = 0
    for attention in _attentions(network):
        own = _own(attention)
        again = isinstance(own, Fused) and not shares(attention)
        if not again and type(own).__name__ != PLAIN:
            continue
        if _alike([getattr(attention, name) for name in _names(attention)]):
            _join(attention)
            attention.processor = own if again else Fused(own)
            count += 1
    return count


def astray(module: Any) -> bool:
    """Is it fused attention that has to compute its projections apart?"""
    processor = getattr(module, "processor", None)
    return isinstance(getattr(processor, "unrouted", processor), Fused) and not shares(module)


def shares(attention: Any) -> bool:
    """Are the weights of its projections those of the joint one, and does nothing else have a hand in them?"""
    joint = getattr(attention, _joint_name(attention))
    at, bias_at = joint.weight.data_ptr(), joint.bias.data_ptr() if joint.bias is not None else 0
    for name in _names(attention):
        layer = getattr(attention, name)
        if type(layer) is not nn.Linear or layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer):
            return False
        if layer.weight.data_ptr() != at or (layer.bias is not None and layer.bias.data_ptr() != bias_at):
            return False
        at += layer.weight.nbytes
        bias_at += layer.bias.nbytes if layer.bias is not None else 0
    return True


def _join(attention: Any) -> None:
    """Make the joint layer, and the projections' weights views of it."""
    layers = [getattr(attention, name) for name in _names(attention)]
    weights = torch.cat([layer.weight.data for layer in layers])
    joint = nn.Linear(weights.shape[1], weights.shape[0], bias=layers[0].bias is not None, device="meta")
    joint.weight = nn.Parameter(weights, requires_grad=False)
    if joint.bias is not None:
        joint.bias = nn.Parameter(torch.cat([layer.bias.data for layer in layers]), requires_grad=False)
    row = 0
    for layer in layers:
        rows = slice(row, row + layer.out_features)
        layer.weight.data = joint.weight.data[rows]
        if joint.bias is not None:
            layer.bias.data = joint.bias.data[rows]
        row += layer.out_features
    setattr(attention, _joint_name(attention), joint)


def _alike(layers: list[Any]) -> bool:
    """Can they be one layer, of which each has an equal share?"""
    first = layers[0]
    return all(
        type(layer) is nn.Linear
        and layer.weight.shape == first.weight.shape
        and layer.weight.dtype == first.weight.dtype
        and (layer.bias is None) == (first.bias is None)
        and not layer._forward_hooks
        and not layer._forward_pre_hooks
        for layer in layers
    )


def _names(attention: Any) -> tuple[str, ...]:
    return ("to_k", "to_v") if attention.is_cross_attention else ("to_q", "to_k", "to_v")


def _joint_name(attention: Any) -> str:
    """What diffusers calls the joint layer."""
    return "to_kv" if attention.is_cross_attention else "to_qkv"


def _own(attention: Any) -> Any:
    """Its processor, whatever kernel its calls are routed to."""
    return getattr(attention.processor, "unrouted", attention.processor)


def _attentions(network: nn.Module) -> Iterator[Any]:
    for module in network.modules():
        if hasattr(module, "processor") and hasattr(module, "is_cross_attention"):
            yield module
