"""Exact attention, softmax(Q K^T scale) V, in ways that differ in time and memory.

All are called as PyTorch's scaled_dot_product_attention is: Q (B, H, N, D), K and V (B, H, M, D) -> (B, H, N, D). What a kernel
cannot do, masks for most of them, PyTorch's own does for it.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Kernel = Callable[..., Tensor]

QUERIES = 1024
KEYS = 4096
"""Rows of Q and of K in work at a time."""

SPLIT_BYTES = 512 * 2**20
"""That the scores of queries worked off together may take."""


def chunked(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, **more: Any) -> Tensor:
    """In chunks of queries and of keys, with memory of O(1) for each query (arXiv:2112.05682, section 2 and figure 1)."""
    scale = more.pop("scale", None)
    if attn_mask is not None or any(more.values()) or q.ndim != 4:
        return scaled_dot_product_attention(q, k, v, attn_mask, scale=scale, **more)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return torch.cat([_chunk(rows, k, v, scale) for rows in q.split(QUERIES, dim=2)], dim=2)


def _chunk(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """One chunk of queries over all chunks of keys: v* and s* of the paper, kept relative to the largest score m so far."""
    top = q.new_full((*q.shape[:3], 1), -math.inf, dtype=torch.float32)  # m
    total = torch.zeros_like(top)  # s*
    mixed = q.new_zeros((*q.shape[:3], v.shape[-1]), dtype=torch.float32)  # v*
    for keys, values in zip(k.split(KEYS, dim=2), v.split(KEYS, dim=2), strict=True):
        scores = ((q * scale) @ keys.transpose(2, 3)).float()  # (B, H, n, m); scaled first, for the range of float16
        higher = torch.maximum(top, scores.amax(dim=-1, keepdim=True))
        weights, before = (scores - higher).exp_(), (top - higher).exp_()
        total = total * before + weights.sum(dim=-1, keepdim=True)
        mixed = mixed * before + (weights.to(values.dtype) @ values).float()
        top = higher
    return (mixed / total).to(q.dtype)


def split(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, **more: Any) -> Tensor:
    """Queries in as few slices as keep their scores below SPLIT_BYTES."""
    scale = more.pop("scale", None)
    if attn_mask is not None or any(more.values()) or q.ndim != 4:
        return scaled_dot_product_attention(q, k, v, attn_mask, scale=scale, **more)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    row = q.shape[0] * q.shape[1] * k.shape[2] * 4
    slices = [
        ((rows * scale) @ k.transpose(2, 3)).float().softmax(dim=-1).to(v.dtype) @ v
        for rows in q.split(max(SPLIT_BYTES // row, 1), dim=2)
    ]
    return torch.cat(slices, dim=2)


def without_memory_efficient(*args: Any, **kwargs: Any) -> Tensor:
    """PyTorch's, by flash attention or plain mathematics alone."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
        return scaled_dot_product_attention(*args, **kwargs)


def plain(*args: Any, **kwargs: Any) -> Tensor:
    """PyTorch's, by plain mathematics: all scores at once."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        return scaled_dot_product_attention(*args, **kwargs)


def upcast(kernel: Kernel) -> Kernel:
    """The kernel, computing in float32."""

    def wide(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, **more: Any) -> Tensor:
        mask = attn_mask.float() if attn_mask is not None and attn_mask.is_floating_point() else attn_mask
        return kernel(q.float(), k.float(), v.float(), mask, **more).to(q.dtype)

    return wide


def xformers_kernel() -> Kernel:
    """xformers' memory-efficient attention; raises what importing it raises."""
    from xformers.ops import memory_efficient_attention  # pyright: ignore[reportMissingImports]  # on request only

    return _by_token(lambda q, k, v, scale: memory_efficient_attention(q, k, v, scale=scale), widest=1024)


def flash_kernel() -> Kernel:
    """flash-attn's, for 16 bits; raises what importing it raises."""
    from flash_attn import flash_attn_func  # pyright: ignore[reportMissingImports]  # on request only

    return _by_token(lambda q, k, v, scale: flash_attn_func(q, k, v, softmax_scale=scale), widest=256, half=True)


def sage_kernel() -> Kernel:
    """SageAttention's, for 16 bits, Q and K in int8 (arXiv:2410.02367); raises what importing it raises."""
    from sageattention import sageattn  # pyright: ignore[reportMissingImports]  # on request only

    return _by_token(
        lambda q, k, v, scale: sageattn(q, k, v, tensor_layout="NHD", sm_scale=scale), widest=128, half=True
    )


def _by_token(compute: Kernel, *, widest: int, half: bool = False) -> Kernel:
    """A kernel of a library that takes (B, N, H, D), for heads up to a width; PyTorch's for what it does not take."""

    def kernel(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, **more: Any) -> Tensor:
        scale = more.pop("scale", None)
        narrow = q.dtype is torch.float32 and half
        if attn_mask is not None or any(more.values()) or q.ndim != 4 or q.shape[-1] > widest or narrow:
            return scaled_dot_product_attention(q, k, v, attn_mask, scale=scale, **more)
        q, k, v = (one.transpose(1, 2).contiguous() for one in (q, k, v))
        return compute(q, k, v, scale).transpose(1, 2)

    return kernel
