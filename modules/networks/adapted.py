"""Packed weights with what networks add to them: added each time they are unpacked, so that they take no more memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modules.families.packed import Codec
from modules.networks.kinds.change import Change
from modules.networks.kinds.lora import Lora

Rows = tuple[int, int, Sequence[Tensor]] | None
"""Of a change of several layers' rows joined: the first of this layer's, how many, and the weights of all of them."""


@dataclass(frozen=True, eq=False)
class AdaptedCodec:
    """Another codec's rows with one change added."""

    inner: Codec
    change: Change
    amount: float
    rank: int | None
    rows: Rows
    kept: bool = True

    def unpack(self, packed: Tensor, columns: int) -> Tensor:
        """As Codec's."""
        own = self.inner.unpack(packed, columns).float()
        if self.rows is None:
            return own + self.amount * self.change.difference(own, self.rank).reshape(own.shape)
        first, count, weights = self.rows
        if isinstance(self.change, Lora):
            up, down = self.change.factors(own, self.rank)
            return own.addmm(up[first : first + count], down, alpha=self.amount * self.change.scale)
        joint = torch.cat([weight.to(own.device, torch.float32) for weight in weights])
        difference = self.change.difference(joint, self.rank).reshape(joint.shape)
        return own + self.amount * difference[first : first + count]
