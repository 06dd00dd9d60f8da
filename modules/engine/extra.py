"""What a U-Net with more input channels sees beside the latents."""

from collections.abc import Sequence

import torch
from torch import Tensor

from modules.families.model import LoadedModel


def blank_extra(model: LoadedModel, seeds: Sequence[int], shape: tuple[int, int, int]) -> Tensor | None:
    """Of no picture: for inpainting a mask of ones and the latents of grey, else zeros; (B, E, h, w) for latents (C, h, w).

    Grey is encoded as A1111 does it: drawn anew for every picture, one after the other from the seed of the batch's last.
    """
    if not model.extra_channels:
        return None
    channels, h, w = shape
    device = model.compute.device
    if not model.inpainting:
        return torch.zeros(len(seeds), model.extra_channels, h, w, device=device)
    generator = torch.Generator().manual_seed(seeds[-1])
    noise = torch.stack([torch.randn(1, channels, h, w, generator=generator)[0] for _ in seeds])
    grey = torch.full((len(seeds), 3, h * model.downscale, w * model.downscale), 0.5)
    return torch.cat([torch.ones(len(seeds), 1, h, w, device=device), model.encode(grey, noise)], dim=1)
