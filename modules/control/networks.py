"""Networks that look at a control picture and give residuals, which are added inside a U-Net."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from modules.control.compiled import Eye
from modules.families.unet import Call

SOFT = 0.825
LAST = 12
"""Where the prompt (or the control) is more important, the i-th of 13 residuals counts SOFT ** (LAST - i), the middle's being the last."""

SOFT_ADAPTER = (0.25, 0.62, 0.825, 1.0)
"""The same for the four of a T2I-Adapter."""


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """What is added to a U-Net's features (N, C, h, w): on the skip connections, in the middle, and inside the way down; or to a
    transformer's tokens (N, L, D): in its blocks, and in its single-stream blocks."""

    down: tuple[Tensor, ...] = ()
    middle: Tensor | None = None
    inside: tuple[Tensor, ...] = ()
    blocks: tuple[Tensor, ...] = ()
    singles: tuple[Tensor, ...] = ()

    @property
    def all(self) -> tuple[Tensor, ...]:
        """In the order of the weights: the way down, then the middle; a transformer's from its first block on."""
        middle = () if self.middle is None else (self.middle,)
        return (*self.down, *middle, *self.inside, *self.blocks, *self.singles)

    def of(self, tensors: Sequence[Tensor]) -> "Residuals":
        """Others in the places of these."""
        rest = iter(tensors)
        take = lambda places: tuple(next(rest) for _ in places)  # noqa: E731
        return Residuals(
            down=take(self.down),
            middle=None if self.middle is None else next(rest),
            inside=take(self.inside),
            blocks=take(self.blocks),
            singles=take(self.singles),
        )


class ControlNetwork(Protocol):
    """`module` holds the weights. `soft(count)`: the factors of `count` residuals where the mode softens them. `guided_only`: it acts on
    D_c alone whatever the mode."""

    module: nn.Module
    guided_only: bool

    def residuals(self, call: Call, hint: Tensor) -> Residuals:
        """For rows (N, C, h, w) with their hints (N, 3, H, W) in [0, 1]."""
        ...

    def soft(self, count: int) -> tuple[float, ...]:
        """See above."""
        ...


class ControlNet:
    """ControlNet (arXiv:2302.05543). `pools`: each residual is its own mean over the picture, as Shuffle's were trained."""

    def __init__(self, module: Any, *, pools: bool = False) -> None:
        self.module = module
        self.guided_only = pools
        self._pools = pools

    def residuals(self, call: Call, hint: Tensor) -> Residuals:
        """See ControlNetwork."""
        channels = self.module.config.in_channels  # an inpainting U-Net sees more beside the latents
        down, middle = self.module(
            call.x[:, :channels],
            call.t,
            encoder_hidden_states=call.context,
            controlnet_cond=hint,
            class_labels=call.labels,
            return_dict=False,
        )
        found = Residuals(down=tuple(down), middle=middle)
        return found.of([one.mean(dim=(2, 3), keepdim=True) for one in found.all]) if self._pools else found

    def soft(self, count: int) -> tuple[float, ...]:
        """See ControlNetwork."""
        return tuple(SOFT ** (LAST - i) for i in range(count))


class T2IAdapter:
    """T2I-Adapter (arXiv:2302.08453): what it gives depends on the control picture alone."""

    guided_only = False

    def __init__(self, module: Any, *, channels: int) -> None:
        self.module = module
        self._eye = Eye(module)
        self._channels = channels

    def residuals(self, call: Call, hint: Tensor) -> Residuals:
        """See ControlNetwork."""
        if self._channels == 1:
            hint = hint.mean(dim=1, keepdim=True)
        step = self.module.total_downscale_factor
        height, width = hint.shape[-2:]
        if height % step or width % step:  # it halves sizes evenly
            size = (-(-height // step) * step, -(-width // step) * step)
            hint = torch.nn.functional.interpolate(hint, size=size, mode="bilinear")
        return Residuals(inside=tuple(self._eye(hint)))

    def soft(self, count: int) -> tuple[float, ...]:
        """See ControlNetwork."""
        return SOFT_ADAPTER[-count:] if count <= len(SOFT_ADAPTER) else (1.0,) * count
