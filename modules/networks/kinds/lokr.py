"""LoKr (LyCORIS, arXiv:2309.14859): W' = W + s (C kron D), each factor whole or of low rank, the second one of convolutions also in Tucker form."""

from dataclasses import dataclass

import torch
from torch import Tensor

from modules.networks.kinds.change import Parts, matrix_fits, on, scale_of
from modules.networks.kinds.loha import tucker

WHOLE_1, WHOLE_2 = "lokr_w1", "lokr_w2"


@dataclass(frozen=True, kw_only=True)
class Lokr:
    """C (o, i) `lokr_w1` or `_a` @ `_b`, and D (o', i', kh, kw) `lokr_w2` or its factors."""

    parts: Parts
    scale: float
    bias: Tensor | None = None

    def fits(self, shape: torch.Size) -> bool:
        """As Change's."""
        (rows, columns), (inner_rows, inner) = self._first_size(), self._second_size()
        return matrix_fits(shape, rows * inner_rows, columns * inner)

    def _first_size(self) -> tuple[int, int]:
        if whole := self._shape(WHOLE_1):
            return whole[0], whole[1]
        return self._shape("lokr_w1_a")[0], self._shape("lokr_w1_b")[1]

    def _second_size(self) -> tuple[int, int]:
        if whole := self._shape(WHOLE_2):
            return whole[0], whole[1:].numel()
        a, b, t = self._shape("lokr_w2_a"), self._shape("lokr_w2_b"), self._shape("lokr_t2")
        return (a[1], b[1] * t[2:].numel()) if t else (a[0], b[1:].numel())

    def _shape(self, name: str) -> torch.Size:
        return self.parts[name].shape if name in self.parts else torch.Size()

    def difference(self, weight: Tensor, rank: int | None) -> Tensor:
        """As Change's."""
        first, second = self._first(weight), self._second(weight, rank)
        first = first.reshape(*first.shape, *[1] * (second.ndim - 2))
        return self.scale * torch.kron(first, second.contiguous())

    def _first(self, weight: Tensor) -> Tensor:
        if WHOLE_1 in self.parts:
            return on(weight, self.parts[WHOLE_1])
        return on(weight, self.parts["lokr_w1_a"]) @ on(weight, self.parts["lokr_w1_b"])

    def _second(self, weight: Tensor, rank: int | None) -> Tensor:
        if WHOLE_2 in self.parts:
            return on(weight, self.parts[WHOLE_2])
        a, b = on(weight, self.parts["lokr_w2_a"]), on(weight, self.parts["lokr_w2_b"])
        if "lokr_t2" in self.parts:
            return tucker(on(weight, self.parts["lokr_t2"]), a, b)
        product = a[:, :rank] @ b[:rank].flatten(1)
        kernel = b.shape[2:] if b.ndim > 2 else weight.shape[2:] if self._flat_kernel(weight) else ()
        return product.reshape(product.shape[0], -1, *kernel)

    def _flat_kernel(self, weight: Tensor) -> bool:
        """Does the second factor hold a convolution's kernel within its columns?"""
        return weight.ndim > 2 and self._first_size()[1] * self._second_size()[1] == weight[0].numel()


def fitting(parts: Parts) -> bool:
    """Are these a LoKr's tensors?"""
    return all(name in parts or {f"{name}_a", f"{name}_b"} <= parts.keys() for name in (WHOLE_1, WHOLE_2))


def read(parts: Parts) -> Lokr:
    """The change these tensors are; of two whole factors alpha says nothing."""
    factor = parts.get("lokr_w2_b", parts.get("lokr_w1_b"))
    return Lokr(
        parts=parts, scale=scale_of(parts, None if factor is None else factor.shape[0]), bias=parts.get("diff_b")
    )
