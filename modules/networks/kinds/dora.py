"""DoRA (arXiv:2402.09353): another change's weight, its columns or rows made as long as learned magnitudes m say: W' = m (W + D) / ||W + D||."""

from dataclasses import dataclass

import torch
from torch import Tensor

from modules.networks.kinds.change import Change, on


@dataclass(frozen=True, kw_only=True)
class Dora:
    """`inner` gives D. `magnitudes`: (1, in, ...) of each input's weights, or (out, 1, ...) of each output's."""

    inner: Change
    magnitudes: Tensor

    @property
    def bias(self) -> Tensor | None:
        """As Change's."""
        return self.inner.bias

    def fits(self, shape: torch.Size) -> bool:
        """As Change's."""
        return len(shape) > 1 and self.inner.fits(shape) and self.magnitudes.numel() in (shape[0], shape[1])

    def difference(self, weight: Tensor, rank: int | None) -> Tensor:
        """As Change's."""
        moved = weight + self.inner.difference(weight, rank).reshape(weight.shape)
        of_inputs = self.magnitudes.ndim > 1 and self.magnitudes.shape[0] == 1
        axes = tuple(n for n in range(weight.ndim) if n != int(of_inputs))
        norms = moved.pow(2).sum(dim=axes, keepdim=True).sqrt()
        return moved * (on(weight, self.magnitudes).reshape(norms.shape) / norms) - weight
