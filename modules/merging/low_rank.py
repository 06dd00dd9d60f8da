"""Matrices as products of two thin ones: the nearest of a rank in the least-squares sense (Eckart and Young, 1936)."""

import torch
from torch import Tensor

_NOTHING = 1e-7
"""Singular values below that part of the largest count as none: the root of float64's precision, as they are squared on the way."""


def factored(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """matrix (m, n) -> B (m, r) and A (r, n), float32, r = min(rank, m, n), of equal weight: B A is the nearest of rank r.

    By the eigenvectors of the smaller of M M^T and M^T M, in float64: as exact as the singular values', and many times faster.
    """
    if matrix.shape[0] > matrix.shape[1]:
        a, b = factored(matrix.T, rank)
        return b.T, a.T
    m = matrix.double()
    values, vectors = torch.linalg.eigh(m @ m.T)  # ascending
    values, vectors = values[-rank:].flip(0), vectors[:, -rank:].flip(1)
    sigma = values.clamp(min=0).sqrt()
    root = torch.where(sigma > _NOTHING * sigma[0], sigma, 0).sqrt()
    inverse = torch.where(root > 0, 1 / root, 0)
    return (vectors * root).float(), ((vectors * inverse).T @ m).float()


def shrunk(b: Tensor, a: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """B (m, r) and A (r, n) -> the factors of the nearest to B A of that rank, which is lower."""
    q, r = torch.linalg.qr(b.double())  # B = Q R, A^T = P S: only R S^T, (r, r), is left to factor
    p, s = torch.linalg.qr(a.double().T)
    u, sigma, v = torch.linalg.svd(r @ s.T)
    root = sigma[:rank].sqrt()
    return (q @ u[:, :rank] * root).float(), ((p @ v[:rank].T * root).T).float()
