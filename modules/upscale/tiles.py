"""A network over a picture in tiles, whose borders are not seen."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from modules.upscale.upscaler import Check, Tell, silent

GRID = 16


def in_tiles(
    picture: Tensor,
    run: Callable[[Tensor], Tensor],
    *,
    scale: int,
    tile: int,
    overlap: int,
    check: Check,
    tell: Tell = silent,
) -> Tensor:
    """`run` over tiles of a picture (1, C, H, W), its results (1, C', h x scale, w x scale) put together in float32 on the CPU.

    Neighbours share 2 x `overlap` pixels: the outer quarter of those, where a network misses what is beyond, counts nothing,
    and in the middle one goes over into the other. With `tile` 0 the picture is one tile.
    """
    height, width = picture.shape[-2:]
    rows, columns = (list(spans(side, tile, overlap)) for side in (height, width))
    if len(rows) == len(columns) == 1:
        check()
        return run(picture).float().cpu()
    result = torch.empty(0)
    for row, (top, bottom) in enumerate(rows):
        band = torch.empty(0)
        for column, (left, right) in enumerate(columns):
            check()
            tell(row * len(columns) + column, len(rows) * len(columns))
            piece = run(picture[..., top:bottom, left:right]).float().cpu()
            if not band.numel():
                band = piece.new_zeros(*piece.shape[:2], piece.shape[2], width * scale)
            weight = _weights(left, right, width, overlap, scale)
            band[..., left * scale : right * scale] += piece * weight
        if not result.numel():
            result = band.new_zeros(*band.shape[:2], height * scale, width * scale)
        weight = _weights(top, bottom, height, overlap, scale)
        result[..., top * scale : bottom * scale, :] += band * weight[:, None]
    return result


def spans(side: int, tile: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Beginnings and ends of the tiles along one side, about equally long; neighbours share 2 x `overlap` pixels.

    They begin at multiples of GRID, where the windows of attention begin that many networks have.
    """
    tile = max(tile, 4 * overlap + GRID) if tile else side
    if side <= tile:
        yield 0, side
        return
    covered, most = side - 2 * overlap, (tile - 2 * overlap) // GRID * GRID
    step = math.ceil(covered / math.ceil(covered / most) / GRID) * GRID
    count = math.ceil(covered / step)
    for start in range(0, step * count, step):
        yield start, side if start == step * (count - 1) else start + step + 2 * overlap


def _weights(start: int, end: int, side: int, overlap: int, scale: int) -> Tensor:
    """How much a tile counts along one side, ((end - start) x scale,); those of neighbours sum to 1."""
    weights = torch.ones((end - start) * scale)
    shared = 2 * overlap * scale
    if not shared:
        return weights
    at = (torch.arange(shared) + 0.5) / shared  # 0 to 1 across what two tiles share
    ramp = ((at - 0.25) * 2).clamp(0, 1)
    if start > 0:
        weights[:shared] = ramp
    if end < side:
        weights[-shared:] = 1 - ramp
    return weights
