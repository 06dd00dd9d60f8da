"""A picture larger than the network is used to: drawn in overlapping tiles that agree, and in regions with prompts of their own.

MultiDiffusion (Bar-Tal et al. 2023, arXiv:2302.08113, eq. 3: where tiles overlap, the mean) and Mixture of Diffusers (Jimenez 2023,
arXiv:2302.02412, section 3: the mean weighted by a Gaussian about each tile's middle).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modules.sampling.denoiser import ContextDenoiser
from modules.sampling.view import Box, View

VARIANCE = 0.01  # of a tile's Gaussian, in its sides


def boxes(height: int, width: int, tile: tuple[int, int], overlap: int) -> list[Box]:
    """Tiles (height, width) spread evenly over a picture of that size, as few as overlap by so much; row by row."""
    tall, wide = min(tile[0], height), min(tile[1], width)
    return [
        Box(top, left, tall, wide) for top in _places(height, tall, overlap) for left in _places(width, wide, overlap)
    ]


def _places(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles of that length begin on a side."""
    stride = max(tile - min(overlap, tile // 2), 1)
    count = 1 + math.ceil((length - tile) / stride)
    return [round(i * (length - tile) / max(count - 1, 1)) for i in range(count)]


def even(height: int, width: int) -> Tensor:
    """MultiDiffusion's weights (height, width) of a tile."""
    return torch.ones(height, width)


def gaussian(height: int, width: int) -> Tensor:
    """Mixture of Diffusers' weights (height, width) of a tile: w_i w_j, w_i = N((i - (n - 1) / 2) / n; 0, VARIANCE)."""

    def bell(n: int) -> Tensor:
        x = (torch.arange(n) - (n - 1) / 2) / n
        return (-(x**2) / (2 * VARIANCE)).exp() / math.sqrt(2 * math.pi * VARIANCE)

    return bell(height)[:, None] * bell(width)


class Tiled:
    """A denoiser that computes a large x tile by tile, `batch` of them at a time. What fits one tile is left to the denoiser as it is."""

    def __init__(
        self,
        denoiser: ContextDenoiser,
        *,
        tile: tuple[int, int],
        overlap: int,
        batch: int = 1,
        weights: Callable[[int, int], Tensor] = even,
        view: View | None = None,
    ) -> None:
        self._denoiser = denoiser
        self._tile = tile
        self._overlap = overlap
        self._batch = batch
        self._weights = weights
        self._view = view or View()

    def __call__(self, x: Tensor, sigma: Tensor, *, context: Tensor, extra: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), sigma (B,), context (B, T, D), extra (B, E, H, W) -> (B, C, H, W)."""
        tiles = boxes(x.shape[2], x.shape[3], self._tile, self._overlap)
        if len(tiles) == 1:
            return self._denoiser(x, sigma, context=context, **({} if extra is None else {"extra": extra}))
        weight = self._weights(tiles[0].height, tiles[0].width).to(x)
        total, weights = torch.zeros_like(x), x.new_zeros(x.shape[2:])
        for group in (tiles[i : i + self._batch] for i in range(0, len(tiles), self._batch)):
            n = len(group)
            given = {} if extra is None else {"extra": torch.cat([extra[(..., *box.of)] for box in group])}
            with self._view.in_tiles(group):
                d = self._denoiser(
                    torch.cat([x[(..., *box.of)] for box in group]),
                    sigma.repeat(n),
                    context=context.repeat(n, *[1] * (context.dim() - 1)),
                    **given,
                )
            for box, d_i in zip(group, d.split(len(x)), strict=True):
                total[(..., *box.of)] += d_i * weight
                weights[box.of] += weight
        return total / weights


@dataclass(frozen=True, kw_only=True)
class RegionDenoiser:
    """What draws one region: `d(x, sigma) -> (D, D_u)` of the box alone. `feather` None: it is averaged into the background;
    otherwise it is laid over it, softly along so much of its sides."""

    box: Box
    d: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    feather: float | None = None


class Regional:
    """A denoiser whose regions have their own guidance. `background` may be absent where regions cover it: it counts only where none does."""

    def __init__(
        self,
        base: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        regions: Sequence[RegionDenoiser],
        *,
        background: bool,
    ) -> None:
        self._base = base
        self._regions = regions
        self._background = background

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x (B, C, H, W), sigma (B,) -> D (B, C, H, W)."""
        return self.both(x, sigma)[0]

    def both(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, H, W), sigma (B,) -> D and D_u, each (B, C, H, W)."""
        base = torch.stack(self._base(x, sigma))  # (2, B, C, H, W)
        drawn = [(region, torch.stack(region.d(x[(..., *region.box.of)], sigma))) for region in self._regions]
        total, weights = torch.zeros_like(base), x.new_zeros(x.shape[2:])
        for region, d in drawn:
            if region.feather is None:
                total[(..., *region.box.of)] += d
                weights[region.box.of] += 1
        alone = weights == 0
        share = torch.ones_like(weights) if self._background else alone.to(x)
        both = (total + base * share) / (weights + share)
        for region, d in drawn:
            if region.feather is not None:
                over = feathered(region.box.height, region.box.width, region.feather).to(x)
                at = (..., *region.box.of)
                both[at] = both[at] * (1 - over) + d * over
        return both[0], both[1]


def feathered(height: int, width: int, ratio: float) -> Tensor:
    """(height, width): 1 in the middle, falling smoothly towards the border over `ratio` of each half side."""

    def side(n: int) -> Tensor:
        x = 1 - ((torch.arange(n) + 0.5) * 2 / n - 1).abs()  # 0 at the border, 1 in the middle
        t = (x / ratio).clamp(max=1) if ratio > 0 else torch.ones(n)
        return t * t * (3 - 2 * t)

    return side(height)[:, None] * side(width)
