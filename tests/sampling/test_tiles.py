"""Tiles and regions, on denoisers with known answers."""

import pytest
import torch
from torch import Tensor

from modules.sampling.tiles import Regional, RegionDenoiser, Tiled, boxes, even, feathered, gaussian
from modules.sampling.view import Box


def local(x: Tensor, sigma: Tensor, *, context: Tensor, extra: Tensor | None = None) -> Tensor:
    """Every place for itself: tiles cannot change what it answers."""
    shift = 0 if extra is None else extra[:, :1]
    return x * sigma.view(-1, 1, 1, 1) + context.mean(dim=(1, 2)).view(-1, 1, 1, 1) + shift


@pytest.mark.parametrize("weights", [even, gaussian])
@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("size", [(16, 16), (40, 23), (17, 64)])
def test_what_looks_at_one_place_alone_does_not_see_the_tiles(weights, batch, size):
    x, context, extra = torch.randn(2, 4, *size), torch.randn(2, 5, 3), torch.randn(2, 1, *size)
    sigma = torch.tensor([0.5, 2.0])
    tiled = Tiled(local, tile=(16, 16), overlap=8, batch=batch, weights=weights)
    torch.testing.assert_close(
        tiled(x, sigma, context=context, extra=extra), local(x, sigma, context=context, extra=extra)
    )


def test_where_tiles_overlap_it_is_their_mean():
    calls = iter([1.0, 3.0])

    def numbered(x, sigma, *, context):
        return torch.full_like(x, next(calls))

    d = Tiled(numbered, tile=(8, 8), overlap=4)(torch.zeros(1, 1, 8, 12), torch.ones(1), context=torch.zeros(1, 1, 1))
    assert d[0, 0, 0].tolist() == [1.0] * 4 + [2.0] * 4 + [3.0] * 4


def test_one_tile_is_the_denoiser_itself():
    x, context = torch.randn(1, 4, 16, 12), torch.randn(1, 2, 2)
    whole = local(x, torch.ones(1), context=context)
    assert torch.equal(Tiled(local, tile=(16, 16), overlap=4)(x, torch.ones(1), context=context), whole)


@pytest.mark.parametrize(
    ("length", "tile", "overlap"), [(100, 16, 8), (17, 16, 8), (16, 16, 0), (64, 16, 99), (5, 16, 4)]
)
def test_tiles_cover_everything_and_overlap_as_asked(length, tile, overlap):
    found = boxes(length, 16, (tile, 16), overlap)
    assert found[0].top == 0 and found[-1].top + found[-1].height == length
    for a, b in zip(found, found[1:], strict=False):
        assert a.top + a.height - b.top >= min(overlap, tile // 2)


def constant(value: float):
    return lambda x, sigma: (torch.full_like(x, value), torch.full_like(x, -value))


def test_regions_are_averaged_in_or_laid_over():
    x, sigma = torch.zeros(1, 1, 8, 8), torch.ones(1)
    left, middle = Box(0, 0, 8, 4), Box(2, 2, 4, 4)
    regions = [RegionDenoiser(box=left, d=constant(3.0)), RegionDenoiser(box=middle, d=constant(9.0), feather=0.0)]
    d, d_u = Regional(constant(1.0), regions, background=True).both(x, sigma)
    assert (d[0, 0, 0, 0], d[0, 0, 0, 7], d[0, 0, 3, 3]) == (2.0, 1.0, 9.0)
    torch.testing.assert_close(d_u, -d)
    d = Regional(constant(1.0), regions, background=False)(x, sigma)
    assert (d[0, 0, 0, 0], d[0, 0, 0, 7]) == (3.0, 1.0)


def test_feathers_fall_off_towards_the_border():
    mask = feathered(20, 40, 0.5)
    assert mask.shape == (20, 40) and mask.max() == 1 and mask[0, 0] < 0.01
    assert (mask[10, 1:20] >= mask[10, :19]).all()
