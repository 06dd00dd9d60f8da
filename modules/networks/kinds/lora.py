"""LoRA (arXiv:2106.09685): W' = W + (alpha / r) B A. LoCons of convolutions, in Tucker form too, and DyLoRAs (arXiv:2210.07558), whose
files are of the same form, are read alike."""

from dataclasses import dataclass

import torch
from torch import Tensor

from modules.networks.kinds.change import Parts, matrix_fits, on, scale_of

NEEDS = frozenset({"up", "down"})


@dataclass(frozen=True, kw_only=True)
class Lora:
    """B (out, r, 1, 1) `up`, A (r, in, kh, kw) `down`; in Tucker form A is (r, in, 1, 1) and `mid` (r, r, kh, kw)."""

    up: Tensor
    down: Tensor
    mid: Tensor | None
    scale: float
    bias: Tensor | None = None

    def fits(self, shape: torch.Size) -> bool:
        """As Change's."""
        rank = self.down.shape[0]
        if self.up.ndim < 2 or self.down.ndim < 2 or self.up[0].numel() != rank:
            return False
        kernel = 1 if self.mid is None else self.mid[0, 0].numel()
        return matrix_fits(shape, self.up.shape[0], self.down[0].numel() * kernel)

    def factors(self, weight: Tensor, rank: int | None) -> tuple[Tensor, Tensor]:
        """B (out, r) and A (r, in kh kw), float32, where the weight is."""
        up, down = on(weight, self.up).flatten(1), on(weight, self.down)
        if self.mid is not None:
            down = torch.einsum("rshw,si->rihw", on(weight, self.mid), down.flatten(1))
        return up[:, :rank], down.flatten(1)[:rank]

    def difference(self, weight: Tensor, rank: int | None) -> Tensor:
        """As Change's."""
        up, down = self.factors(weight, rank)
        return self.scale * (up @ down)


def read(parts: Parts) -> Lora:
    """The change these tensors are."""
    down = parts["down"]
    return Lora(
        up=parts["up"],
        down=down,
        mid=parts.get("mid"),
        scale=scale_of(parts, down.shape[0] if down.ndim else None),
        bias=parts.get("diff_b"),
    )
