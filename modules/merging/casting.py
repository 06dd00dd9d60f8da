"""The dtype that a result is saved in."""

import torch
from torch import Tensor

from modules.families.ldm_keys import UNET

FLOATS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
FP8 = "fp8_e4m3fn"
_EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)
_IN_FP8 = (UNET, "cond_stage_model.", "conditioner.")


def cast(name: str, tensor: Tensor, precision: str) -> Tensor:
    """`tensor` in that precision; Automatic, and what is no fraction, stays as it is.

    fp8 is for weight matrices of U-Nets and text encoders, clamped to its range; the rest becomes float16.
    """
    if not tensor.is_floating_point() or precision not in (*FLOATS, FP8):
        return tensor
    if precision != FP8:
        return tensor.to(FLOATS[precision])
    if tensor.ndim < 2 or not name.startswith(_IN_FP8):
        return tensor.to(torch.float16)
    limit = torch.finfo(torch.float8_e4m3fn).max
    return tensor.float().clamp(-limit, limit).to(torch.float8_e4m3fn)


def computable(tensor: Tensor) -> Tensor:
    """`tensor` in a dtype that can be computed with: eight bits become float16."""
    return tensor.to(torch.float16) if tensor.dtype in _EIGHT_BITS else tensor
