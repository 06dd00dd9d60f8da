"""Brownian motion over sigma, one path a seed, the same wherever and in whatever order it is asked for.

A virtual Brownian tree (Li et al., arXiv:2001.01328, section 4) whose numbers are those of torchsde's BrownianTree, as
k-diffusion uses it: interval midpoints rounded to six digits, noise of node k at depth d from SeedSequence(seed, (k, d)).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

DIGITS = 6  # times are told apart to 1e-6
POOL = 24  # words of entropy a seed is spread over

Draw = Callable[[int], Tensor]  # seed -> standard normals of the picture's shape


class BrownianPath:
    """One path W over [t0, t1]."""

    def __init__(self, t0: float, t1: float, seed: int, draw: Draw) -> None:
        self._start, self._end = round(t0, DIGITS), round(t1, DIGITS)
        self._seed = seed
        self._draw = draw
        first = np.random.SeedSequence(entropy=seed, pool_size=POOL).generate_state(3)[0]
        self._whole = draw(int(first)) * math.sqrt(t1 - t0)
        self._left: dict[tuple[int, int], Tensor] = {}  # (node, depth) -> W over its left half, as the last query used

    def __call__(self, ta: float, tb: float) -> Tensor:
        """W(tb) - W(ta) for t0 <= ta <= tb <= t1; times outside are moved to the ends."""
        ta, tb = (round(min(max(t, self._start), self._end), DIGITS) for t in (ta, tb))
        if ta >= tb:
            return torch.zeros_like(self._whole)
        used: dict[tuple[int, int], Tensor] = {}
        total = None
        pending = [(self._start, self._end, ta, tb, 0, 0, self._whole)]
        while pending:  # depth first, left to right
            start, end, a, b, node, depth, w = pending.pop()
            if (a, b) == (start, end):
                total = w if total is None else total + w
                continue
            middle = round(0.5 * (end + start), DIGITS)
            left = self._left.get((node, depth))
            if left is None:
                left = self._left_half(start, middle, end, node, depth, w)
            used[node, depth] = left
            if b > middle:
                pending.append((middle, end, max(a, middle), b, 2 * node + 1, depth + 1, w - left))
            if a < middle:
                pending.append((start, middle, a, min(b, middle), 2 * node, depth + 1, left))
        self._left = used
        assert total is not None
        return total

    def _left_half(self, start: float, middle: float, end: float, node: int, depth: int, w: Tensor) -> Tensor:
        """A Brownian bridge: N(w (m - s)/(e - s), (m - s)(e - m)/(e - s)) at the middle."""
        seeds = np.random.SeedSequence(entropy=self._seed, spawn_key=(node, depth), pool_size=POOL)
        noise = self._draw(int(seeds.generate_state(4)[0]))
        per = 1 / (end - start)
        return (middle - start) * w * per + math.sqrt((middle - start) * (end - middle) * per) * noise


class BrownianNoise:
    """Standard normals for SDE samplers: (W(sigma) - W(sigma')) / sqrt(sigma - sigma'), a path for each seed."""

    def __init__(self, seeds: Sequence[int], sigmas: Tensor, draw: Draw) -> None:
        low, high = sigmas[sigmas > 0].min().item(), sigmas.max().item()
        self._paths = [BrownianPath(low, high, seed, draw) for seed in seeds]

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """(B, C, H, W) for a step down from `sigma` to `sigma_next`."""
        low, high = sorted((float(sigma), float(sigma_next)))
        w = torch.stack([path(low, high) for path in self._paths])
        sign = -1.0 if sigma_next < sigma else 1.0
        return w * sign / (sigma_next - sigma).abs().sqrt().to(w.device)
