"""Normal numbers as an NVIDIA card draws them, on any machine: Philox 4x32-10 (Salmon et al. 2011) and Box-Muller."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], dtype=np.uint64)
WEYL = np.array([0x9E3779B9, 0xBB67AE85], dtype=np.uint32)  # the golden ratio's and sqrt(3) - 1's fractions of 2^32
ROUNDS = 10
MASK = np.uint64(0xFFFFFFFF)


def philox(counter: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Ten rounds over counters (4, N) under one key (2,) -> (4, N)."""
    c0, c1, c2, c3 = counter
    key = key.copy()
    for _ in range(ROUNDS):
        low_0, high_0 = _product(c0, MULTIPLIERS[0])
        low_1, high_1 = _product(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high_1 ^ c1 ^ key[0], low_1, high_0 ^ c3 ^ key[1], low_0
        with np.errstate(over="ignore"):
            key += WEYL
    return np.stack([c0, c1, c2, c3])


def _product(word: NDArray[np.uint32], multiplier: np.uint64) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """(low, high) halves of 64-bit products."""
    product = word.astype(np.uint64) * multiplier
    return (product & MASK).astype(np.uint32), (product >> np.uint64(32)).astype(np.uint32)


def normals(x: NDArray[np.uint32], y: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Box-Muller's sine branch over pairs of words, each taken to the middle of its 2^-32 interval. float32."""
    step = np.float32(2.0**-32)
    u = x * step + step / 2
    v = y * (step * np.float32(2 * math.pi)) + step * np.float32(math.pi)
    return (np.sqrt(-2 * np.log(u)) * np.sin(v)).astype(np.float32)


class Philox:
    """A stream of normal numbers; the n-th draw does not depend on the shapes of those before it."""

    def __init__(self, seed: int) -> None:
        self._key = np.array([seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF], dtype=np.uint32)
        self._draws = 0

    def randn(self, shape: Sequence[int]) -> Tensor:
        """Standard normals of that shape, float32, on the CPU."""
        count = math.prod(shape)
        counter = np.zeros((4, count), dtype=np.uint32)
        counter[0] = self._draws
        counter[2] = np.arange(count, dtype=np.uint32)
        self._draws += 1
        words = philox(counter, self._key)
        return torch.from_numpy(normals(words[0], words[1]).reshape(tuple(shape)))
