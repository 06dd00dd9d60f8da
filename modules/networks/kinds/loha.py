"""LoHa (arXiv:2108.06098): W' = W + (alpha / r) (B1 A1) * (B2 A2), element by element; of convolutions each product may be in Tucker form."""

from dataclasses import dataclass

import torch
from torch import Tensor

from modules.networks.kinds.change import Parts, matrix_fits, on, scale_of

NEEDS = frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"})


@dataclass(frozen=True, kw_only=True)
class Loha:
    """Two products: B `a` (out, r) and A `b` (r, in), or with a core `t` (r, r, kh, kw), `a` (r, out) and `b` (r, in)."""

    parts: Parts
    scale: float
    bias: Tensor | None = None

    def fits(self, shape: torch.Size) -> bool:
        """As Change's."""
        sizes = {self._size(n) for n in (1, 2)}
        return len(sizes) == 1 and matrix_fits(shape, *sizes.pop())

    def _size(self, n: int) -> tuple[int, int]:
        a, b, t = self.parts[f"hada_w{n}_a"], self.parts[f"hada_w{n}_b"], self.parts.get(f"hada_t{n}")
        return (a.shape[0], b[0].numel()) if t is None else (a.shape[1], b.shape[1] * t[0, 0].numel())

    def difference(self, weight: Tensor, rank: int | None) -> Tensor:
        """As Change's."""
        return self.scale * self._product(weight, 1, rank) * self._product(weight, 2, rank)

    def _product(self, weight: Tensor, n: int, rank: int | None) -> Tensor:
        a, b = (on(weight, self.parts[f"hada_w{n}_{side}"]) for side in "ab")
        t = self.parts.get(f"hada_t{n}")
        if t is None:
            return a[:, :rank] @ b[:rank].flatten(1)
        return tucker(on(weight, t), a, b).flatten(1)


def tucker(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Core (r, s, kh, kw), a (r, out), b (s, in) -> (out, in, kh, kw)."""
    return torch.einsum("rshw,ro,si->oihw", core, a, b)


def read(parts: Parts) -> Loha:
    """The change these tensors are."""
    return Loha(parts=parts, scale=scale_of(parts, parts["hada_w1_b"].shape[0]), bias=parts.get("diff_b"))
