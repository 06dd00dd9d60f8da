"""What a picture is guided by, step for step: conditioning that changes and is composed of several prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Scheduled:
    """Conditioning over the steps: up to and including step ends[i] it is tensors[which[i]]; tensors (K, T, D)."""

    ends: tuple[int, ...]
    which: tuple[int, ...]
    tensors: Tensor

    @classmethod
    def constant(cls, tensor: Tensor) -> "Scheduled":
        """The same (T, D) at every step."""
        return cls((0,), (0,), tensor[None])

    @property
    def length(self) -> int:
        """T, the number of token positions."""
        return self.tensors.shape[1]

    def at(self, step: int) -> Tensor:
        """(T, D) at a step; after the last end the first one again, as in A1111."""
        i = next((i for i, end in enumerate(self.ends) if step <= end), 0)
        return self.tensors[self.which[i]]

    def with_tensors(self, tensors: Tensor) -> "Scheduled":
        """The same schedule over other tensors (K, T', D)."""
        return Scheduled(self.ends, self.which, tensors)


@dataclass(frozen=True, eq=False)
class Composed:
    """Conditionings and their weights (arXiv:2206.01714)."""

    parts: tuple[tuple[Scheduled, float], ...]

    @property
    def length(self) -> int:
        """T of the longest part."""
        return max(part.length for part, _ in self.parts)

    def with_parts(self, parts: Sequence[Scheduled]) -> "Composed":
        """The same weights for other parts."""
        return Composed(tuple(zip(parts, (weight for _, weight in self.parts), strict=True)))


def hold_last(tensor: Tensor, length: int) -> Tensor:
    """(..., T, D) -> (..., length, D) with the last position repeated."""
    extra = tensor[..., -1:, :].expand(*tensor.shape[:-2], length - tensor.shape[-2], -1)
    return torch.cat([tensor, extra], dim=-2)


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """(N, T, D) of N (T_i, D), the shorter ones held at their last position."""
    length = max(t.shape[0] for t in tensors)
    return torch.stack([hold_last(t, length) for t in tensors])


def pad_with_empty(cond: Composed, uncond: Scheduled, empty: Tensor) -> tuple[Composed, Scheduled]:
    """Equal lengths (A1111's pad_cond_uncond): the shorter one gets the conditioning of no text, `empty` (77, D), at its end."""
    length = max(cond.length, uncond.length)

    def padded(part: Scheduled, own: int) -> Scheduled:
        tensors = hold_last(part.tensors, own)
        extra = empty.repeat((length - own) // len(empty), 1).expand(len(tensors), -1, -1)
        return part.with_tensors(torch.cat([tensors, extra], dim=1))

    return cond.with_parts([padded(part, cond.length) for part, _ in cond.parts]), padded(uncond, uncond.length)


def pad_with_last(cond: Composed, uncond: Scheduled) -> Scheduled:
    """`uncond` as long as `cond`, held at its last position or cut off (A1111's pad_cond_uncond_v0)."""
    return uncond.with_tensors(hold_last(uncond.tensors, max(cond.length, uncond.length))[:, : cond.length])
