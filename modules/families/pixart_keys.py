"""The original names of PixArt's and Sana's networks, which share their ancestry, as diffusers' names."""

import re
from collections.abc import Mapping

from torch import Tensor

_COMMON = (
    (r"^t_block\.1\.", "{time}.linear."),
    (r"^t_embedder\.mlp\.0\.", "{time}.emb.timestep_embedder.linear_1."),
    (r"^t_embedder\.mlp\.2\.", "{time}.emb.timestep_embedder.linear_2."),
    (r"^csize_embedder\.mlp\.0\.", "{time}.emb.resolution_embedder.linear_1."),
    (r"^csize_embedder\.mlp\.2\.", "{time}.emb.resolution_embedder.linear_2."),
    (r"^ar_embedder\.mlp\.0\.", "{time}.emb.aspect_ratio_embedder.linear_1."),
    (r"^ar_embedder\.mlp\.2\.", "{time}.emb.aspect_ratio_embedder.linear_2."),
    (r"^x_embedder\.", "{patch}."),
    (r"^y_embedder\.y_proj\.fc", "caption_projection.linear_"),
    (r"^attention_y_norm\.", "caption_norm."),
    (r"^final_layer\.linear\.", "proj_out."),
    (r"^final_layer\.scale_shift_table$", "scale_shift_table"),
    (r"^blocks\.", "transformer_blocks."),
    (r"\.cross_attn\.q_linear\.", ".attn2.to_q."),
    (r"\.cross_attn\.", ".attn2."),
    (r"\.attn\.", ".attn1."),
    (r"\.(attn\d)\.proj\.", r".\1.to_out.0."),
    (r"\.(attn\d)\.([qk])_norm\.", r".\1.norm_\2."),
    (r"\.mlp\.fc1\.", ".ff.net.0.proj."),
    (r"\.mlp\.fc2\.", ".ff.net.2."),
    (r"\.mlp\.(inverted|depth|point)_conv\.conv\.", r".ff.conv_\1."),
)
_JOINED = {".attn1.qkv.": ("q", "k", "v"), ".attn2.kv_linear.": ("k", "v")}
UNUSED = ("pos_embed", "y_embedder.y_embedding")
"""Positions, which are computed, and what stood for no text in training."""


def diffusers_names(tensors: Mapping[str, Tensor], *, time: str, patch: str) -> dict[str, Tensor]:
    """A network's tensors under diffusers' names, whose own for its times and its patches those are."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name in UNUSED:
            continue
        for pattern, new in _COMMON:
            name = re.sub(pattern, new.replace("{time}", time).replace("{patch}", patch), name)
        joined = next((part for part in _JOINED if part in name), "")
        if not joined:
            found[name] = tensor
            continue
        letters = _JOINED[joined]
        for letter, part in zip(letters, tensor.chunk(len(letters)), strict=True):
            found[name.replace(joined, f"{joined[:7]}to_{letter}.")] = part
    return found
