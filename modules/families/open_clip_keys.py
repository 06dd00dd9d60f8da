"""OpenCLIP's text encoder in checkpoints of SD 2.x and XL, under the names of transformers' CLIP, both ways.

OpenCLIP keeps queries, keys and values in one matrix (3D, D), and its last projection as (D, P) to multiply from the right.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

_WHOLE = (
    ("token_embedding.weight", "embeddings.token_embedding.weight"),
    ("positional_embedding", "embeddings.position_embedding.weight"),
    ("ln_final.weight", "final_layer_norm.weight"),
    ("ln_final.bias", "final_layer_norm.bias"),
)
_LAYER = (
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
    ("attn.out_proj", "self_attn.out_proj"),
)
_QKV = ("q_proj", "k_proj", "v_proj")
_OURS, _THEIRS = "encoder.layers.", "transformer.resblocks."


def to_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP names to transformers' CLIPTextModel's; names in no table are left out."""
    found = {ours: tensors[theirs] for theirs, ours in _WHOLE if theirs in tensors}
    for key, tensor in tensors.items():
        if not key.startswith(_THEIRS):
            continue
        number, rest = key.removeprefix(_THEIRS).split(".", 1)
        layer = f"{_OURS}{number}."
        if rest.startswith("attn.in_proj_"):
            kind = rest.removeprefix("attn.in_proj_")
            for name, part in zip(_QKV, tensor.chunk(3), strict=True):
                found[f"{layer}self_attn.{name}.{kind}"] = part
            continue
        for theirs, ours in _LAYER:
            if rest.startswith(f"{theirs}."):
                found[layer + ours + rest.removeprefix(theirs)] = tensor
    return found


def to_open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse of `to_clip`."""
    found = {theirs: tensors[ours] for theirs, ours in _WHOLE if ours in tensors}
    for key, tensor in tensors.items():
        if not key.startswith(_OURS):
            continue
        number, rest = key.removeprefix(_OURS).split(".", 1)
        layer = f"{_THEIRS}{number}."
        if rest.startswith("self_attn.q_proj."):
            kind = rest.removeprefix("self_attn.q_proj.")
            parts = [tensors[f"{_OURS}{number}.self_attn.{name}.{kind}"] for name in _QKV]
            found[f"{layer}attn.in_proj_{kind}"] = torch.cat(parts)
        for theirs, ours in _LAYER:
            if rest.startswith(f"{ours}."):
                found[layer + theirs + rest.removeprefix(ours)] = tensor
    return found
