"""Strong guidance kept in range: CFG rescale and dynamic thresholding. All tensors are (B, C, H, W), latent space."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """CFG rescale (arXiv:2305.08891, eq. 15 and 16): the guided prediction D gets the deviation of the prompt's D_c.

    v_r = v std(v_c) / std(v) and v' = phi v_r + (1 - phi) v, per picture. The paper says it of v, which is here, up to a
    factor of the noise level, x - (sigma^2 + 1) D; so it means the same whether a model predicts eps or v. `flow` models
    predict another v, x - D up to a factor.
    """

    phi: float
    flow: bool = False

    def __call__(self, d: Tensor, d_c: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """D and D_c at x and sigma (B,) -> D."""
        factor = torch.ones_like(sigma) if self.flow else sigma**2 + 1
        factor = factor.view(-1, 1, 1, 1)
        v, v_c = x - factor * d, x - factor * d_c
        ratio = _deviation(v_c) / _deviation(v).clamp(min=torch.finfo(v.dtype).tiny)
        return (x - v * (self.phi * ratio + 1 - self.phi)) / factor


def _deviation(v: Tensor) -> Tensor:
    """Of each picture: (B, 1, 1, 1)."""
    return v.std(dim=(1, 2, 3), keepdim=True)


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Dynamic thresholding (arXiv:2205.11487, section 2.3) as users know it from "CFG-Fix": the range that a weaker guidance
    would have had stands for Imagen's [-1, 1].

    With M = D_u + mimic (D - D_u), centred on D's means: s = max(percentile of |D|, max |M|), and D becomes
    clamp(D, -s, s) max |M| / s, put back on its means; phi of that and 1 - phi of D.
    `mimic`: the scale to mimic over the CFG scale. `percentile`: 0 to 1. `per_channel`: s is each channel's own.
    `centred`: the means are those of channels; otherwise 0. `phi`: 0 to 1.
    """

    mimic: float
    percentile: float = 1.0
    per_channel: bool = True
    centred: bool = True
    phi: float = 1.0

    def __call__(self, d: Tensor, d_u: Tensor) -> Tensor:
        """D, guided, and D_u -> D in range."""
        weaker = d_u + (d - d_u) * self.mimic
        mean = self._mean(d)
        centred = d - mean
        bound = self._most(weaker - self._mean(weaker), 1.0)
        s = torch.maximum(self._most(centred, self.percentile), bound)
        squeezed = centred.clamp(-s, s) * (bound / s.clamp(min=torch.finfo(d.dtype).tiny)) + mean
        return self.phi * squeezed + (1 - self.phi) * d

    def _mean(self, d: Tensor) -> Tensor:
        return d.mean(dim=(2, 3), keepdim=True) if self.centred else torch.zeros_like(d[:, :, :1, :1])

    def _most(self, d: Tensor, percentile: float) -> Tensor:
        """That percentile of |d|, of each channel or of all: (B, C, 1, 1) or (B, 1, 1, 1)."""
        flat = d.abs().flatten(2 if self.per_channel else 1)
        most = flat.amax(dim=-1) if percentile == 1 else flat.quantile(percentile, dim=-1)
        return most.view(len(d), -1, 1, 1)
