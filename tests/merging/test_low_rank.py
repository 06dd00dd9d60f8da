"""Factors against torch's own singular value decomposition."""

import pytest
import torch

from modules.merging.low_rank import factored, shrunk


def nearest(matrix: torch.Tensor, rank: int) -> torch.Tensor:
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    return (u[:, :rank] * s[:rank] @ v[:rank]).float()


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (9, 9)])
@pytest.mark.parametrize("rank", [1, 3, 8, 100])
def test_the_nearest_of_a_rank(shape, rank):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    b, a = factored(matrix, rank)
    assert b.shape[1] == a.shape[0] == min(rank, *shape)
    torch.testing.assert_close(b @ a, nearest(matrix, rank), atol=1e-5, rtol=1e-5)
    assert 0.5 < b.norm() / a.norm() < 2


def test_less_than_its_rank_is_filled_with_zeros():
    matrix = torch.outer(torch.arange(1.0, 6), torch.arange(1.0, 8))
    b, a = factored(matrix, 4)
    torch.testing.assert_close(b @ a, matrix)
    assert torch.isfinite(b).all()
    assert not b[:, 1:].any()
    assert not any(part.any() for part in factored(torch.zeros(3, 4), 2))


@pytest.mark.parametrize("rank", [1, 4, 6])
def test_shrinking_a_product(rank):
    generator = torch.Generator().manual_seed(2)
    b, a = torch.randn(10, 6, generator=generator), torch.randn(6, 15, generator=generator)
    small, thin = shrunk(b, a, rank)
    assert (small.shape, thin.shape) == ((10, rank), (rank, 15))
    torch.testing.assert_close(small @ thin, nearest(b @ a, rank), atol=1e-4, rtol=1e-4)
