"""How a U-Net comes back from sides that were halved unevenly, such as 5 from 3."""

from typing import Any

from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn import functional


class Doubled(Upsample2D):
    """Doubles, convolves, and then takes the nearest of what there is at the wanted size, as A1111 does (on such sizes the pictures differ
    by 1.6e-3); diffusers goes to that size at once, before the convolution. Sides that were halved evenly come out the same."""

    def forward(self, hidden_states: Tensor, output_size: Any = None, *_: Any, **__: Any) -> Tensor:
        """(B, C, h, w) -> (B, C, *output_size), or twice as large."""
        found = super().forward(hidden_states)
        if output_size is None:
            return found
        return functional.interpolate(found, size=output_size, mode="nearest")


def double(unet: nn.Module) -> None:
    """Let every upsampler of the U-Net do so; its weights and their names stay."""
    for module in unet.modules():
        if type(module) is Upsample2D:
            module.__class__ = Doubled
