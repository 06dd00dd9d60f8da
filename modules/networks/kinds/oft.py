"""OFT (arXiv:2306.07280) and BOFT (arXiv:2311.06243): W' = R W with R orthogonal, made of blocks on its diagonal; of BOFT, a product of such.

A block is Cayley's (I + Q) (I - Q)^-1 of a skew-symmetric Q, whose norm a constraint may bound. Outputs are turned by its transpose.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from modules.networks.kinds.change import Parts, number, on

NEEDS = frozenset({"oft_blocks"})
READY = frozenset({"oft_diag"})
"""Of old files: blocks that are orthogonal already."""


@dataclass(frozen=True, kw_only=True)
class Oft:
    """`blocks`: (n, b, b), or of BOFT (m, n, b, b), n b = out. `limit` bounds Q's norm, per output. `rescale`: (out, 1, ...)."""

    blocks: Tensor
    ready: bool
    limit: float
    rescale: Tensor | None
    bias: Tensor | None = None

    def fits(self, shape: torch.Size) -> bool:
        """As Change's."""
        return (
            len(shape) > 1
            and self.blocks.ndim in (3, 4)
            and self.blocks.shape[-1] == self.blocks.shape[-2]
            and self.blocks.shape[-3] * self.blocks.shape[-1] == shape[0]
            and (self.blocks.ndim == 3 or shape[0] % (2 ** (len(self.blocks) - 1) * self.blocks.shape[-1]) == 0)
            and (self.rescale is None or self.rescale.numel() in (1, shape[0]))
        )

    def difference(self, weight: Tensor, rank: int | None) -> Tensor:
        """As Change's."""
        blocks = self._rotations(on(weight, self.blocks), weight.shape[0])
        turned = weight.flatten(1)
        if blocks.ndim == 3:
            turned = _turned(turned, blocks.transpose(1, 2))
        else:
            for level, factor in enumerate(blocks):
                order = _butterfly(weight.shape[0], 2**level * blocks.shape[-1] // 2).to(weight.device)
                part = _turned(turned[order], factor)
                turned = torch.empty_like(part)
                turned[order] = part
        if self.rescale is not None:
            turned = turned * on(weight, self.rescale).reshape(-1, 1)
        return turned.reshape(weight.shape) - weight

    def _rotations(self, blocks: Tensor, out: int) -> Tensor:
        if self.ready:
            return blocks
        q = blocks - blocks.transpose(-1, -2)
        norm = q.norm()
        if 0 < self.limit * out < norm:
            q = q * (self.limit * out / norm)
        one = torch.eye(q.shape[-1], device=q.device)
        return (one + q) @ torch.linalg.inv(one - q)


def _turned(weight: Tensor, blocks: Tensor) -> Tensor:
    """Rows (n b, columns) turned block by block (n, b, b)."""
    rows = weight.reshape(blocks.shape[0], blocks.shape[1], -1)
    return torch.bmm(blocks, rows).reshape(weight.shape)


def _butterfly(out: int, stride: int) -> Tensor:
    """Which rows stand together at one level: pairs of runs of `stride` rows, interleaved."""
    return torch.arange(out).reshape(-1, 2, stride).transpose(1, 2).flatten()


def read(parts: Parts) -> Oft:
    """The change these tensors are; alpha is the constraint."""
    ready = "oft_diag" in parts
    limit = number(parts["alpha"]) if "alpha" in parts and not ready else 0.0
    blocks = parts["oft_diag" if ready else "oft_blocks"]
    return Oft(blocks=blocks, ready=ready, limit=limit, rescale=parts.get("rescale"))
