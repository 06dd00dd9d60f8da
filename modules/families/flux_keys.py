"""FLUX.1's transformer and Chroma's under their original names, told in diffusers'.

The original keeps queries, keys and values, and in single blocks the feed-forward layer's input too, in one matrix.
"""

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

_WHOLE = (
    ("time_in.in_layer", "time_text_embed.timestep_embedder.linear_1"),
    ("time_in.out_layer", "time_text_embed.timestep_embedder.linear_2"),
    ("vector_in.in_layer", "time_text_embed.text_embedder.linear_1"),
    ("vector_in.out_layer", "time_text_embed.text_embedder.linear_2"),
    ("guidance_in.in_layer", "time_text_embed.guidance_embedder.linear_1"),
    ("guidance_in.out_layer", "time_text_embed.guidance_embedder.linear_2"),
    ("txt_in", "context_embedder"),
    ("img_in", "x_embedder"),
    ("final_layer.linear", "proj_out"),
    ("distilled_guidance_layer.in_proj", "distilled_guidance_layer.in_proj"),
    ("distilled_guidance_layer.out_proj", "distilled_guidance_layer.out_proj"),
)
_DOUBLE = (
    ("img_mod.lin", "norm1.linear"),
    ("txt_mod.lin", "norm1_context.linear"),
    ("img_attn.norm.query_norm", "attn.norm_q"),
    ("img_attn.norm.key_norm", "attn.norm_k"),
    ("txt_attn.norm.query_norm", "attn.norm_added_q"),
    ("txt_attn.norm.key_norm", "attn.norm_added_k"),
    ("img_attn.proj", "attn.to_out.0"),
    ("txt_attn.proj", "attn.to_add_out"),
    ("img_mlp.0", "ff.net.0.proj"),
    ("img_mlp.2", "ff.net.2"),
    ("txt_mlp.0", "ff_context.net.0.proj"),
    ("txt_mlp.2", "ff_context.net.2"),
)
_SINGLE = (
    ("modulation.lin", "norm.linear"),
    ("linear2", "proj_out"),
    ("norm.query_norm", "attn.norm_q"),
    ("norm.key_norm", "attn.norm_k"),
)
_GUIDANCE = (("in_layer", "linear_1"), ("out_layer", "linear_2"))
_JOINED = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
}
_JOINS = {"double_blocks": ("img_", "txt_"), "single_blocks": ("linear1",)}
_FINAL = "final_layer.adaLN_modulation.1"  # shift before scale, in diffusers the other way round
_BLOCK = re.compile(r"(double_blocks|single_blocks|distilled_guidance_layer\.(?:layers|norms))\.(\d+)\.?(.*)")
_LISTS = {
    "double_blocks": ("transformer_blocks", dict(_DOUBLE)),
    "single_blocks": ("single_transformer_blocks", dict(_SINGLE)),
    "distilled_guidance_layer.layers": ("distilled_guidance_layer.layers", dict(_GUIDANCE)),
    "distilled_guidance_layer.norms": ("distilled_guidance_layer.norms", {"": ""}),
}


def is_original(names: Mapping[str, object]) -> bool:
    """Are these a network's original names?"""
    return "img_in.weight" in names


def to_diffusers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under diffusers' names; names in no table are left out."""
    whole = dict(_WHOLE)
    width = tensors["img_in.weight"].shape[0]
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name, _, kind = key.rpartition(".")
        kind = "weight" if kind == "scale" else kind
        if name == _FINAL:
            shift, scale = tensor.chunk(2)
            found[f"norm_out.linear.{kind}"] = torch.cat([scale, shift])
        elif name in whole:
            found[f"{whole[name]}.{kind}"] = tensor
        elif match := _BLOCK.fullmatch(name):
            for renamed, part in _of_block(match, tensor, width):
                found[f"{renamed}.{kind}"] = part
    return found


def diffusers_places(blocks: int, singles: int, guides: int = 0) -> dict[str, tuple[str, ...]]:
    """The modules under their original names, in a network of so many blocks and, in Chroma, layers of its guide, and diffusers' that hold their rows, in that order.

    The last layer's modulation is left out, whose halves change places.
    """
    found: dict[str, tuple[str, ...]] = {ours: (theirs,) for ours, theirs in _WHOLE}
    lists = (
        ("double_blocks", blocks, _DOUBLE),
        ("single_blocks", singles, _SINGLE),
        ("distilled_guidance_layer.layers", guides, _GUIDANCE),
    )
    for names, count, inner in lists:
        theirs = _LISTS[names][0]
        joined = {k: v for k, v in _JOINED.items() if k.startswith(_JOINS[names])} if names in _JOINS else {}
        for number in range(count):
            within = {**{ours: (layer,) for ours, layer in inner}, **joined}
            for ours, layers in within.items():
                found[f"{names}.{number}.{ours}"] = tuple(f"{theirs}.{number}.{layer}" for layer in layers)
    return found


def _of_block(match: re.Match[str], tensor: Tensor, width: int) -> Iterator[tuple[str, Tensor]]:
    """The tensor of one block's layer, or the parts of one that joins several, without the last part of their names."""
    names, number, layer = match.groups()
    blocks, table = _LISTS[names]
    prefix = f"{blocks}.{number}"
    if layer in table:
        yield f"{prefix}.{table[layer]}".removesuffix("."), tensor
    elif layer in _JOINED and blocks.endswith("transformer_blocks"):
        targets = _JOINED[layer]
        rest = tensor.shape[0] - width * (len(targets) - 1)
        for target, part in zip(targets, tensor.split([*[width] * (len(targets) - 1), rest]), strict=True):
            yield f"{prefix}.{target}", part
