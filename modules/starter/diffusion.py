"""The forward process of Stable Diffusion 1.x, and the short DDIM loop that watches training."""

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor


def alphas_cumprod() -> Tensor:
    """(1000,) float32: the scaled-linear schedule from 0.00085 to 0.012."""
    return torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, dim=0)


@torch.no_grad()
def ddim(
    unet: UNet2DConditionModel, told: Tensor, untold: Tensor, *, steps: int = 20, scale: float = 4.0, seed: int = 0
) -> Tensor:
    """DDIM (arXiv:2010.02502, eq. 12, eta 0) with guidance. `told`, `untold`: (B, 77, C). Returns (B, 4, 16, 16), unit variance."""
    x = torch.randn(len(told), 4, 16, 16, generator=torch.Generator().manual_seed(seed))
    abar = alphas_cumprod()
    times = torch.linspace(999, 0, steps + 1)[:-1].long()
    context = torch.cat([untold.expand_as(told), told])
    for i, t in enumerate(times):
        a, after = abar[t], abar[times[i + 1]] if i + 1 < steps else torch.tensor(1.0)
        free, bound = unet(torch.cat([x, x]), t, context).sample.float().chunk(2)
        eps = free + scale * (bound - free)
        clean = (x - (1 - a).sqrt() * eps) / a.sqrt()
        x = after.sqrt() * clean + (1 - after).sqrt() * eps
    return x
