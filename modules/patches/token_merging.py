"""Token merging for Stable Diffusion (arXiv:2303.17604), built on bipartite soft matching (arXiv:2210.09461, section 3).

Tokens of a picture are alike where it is flat. Before self-attention the most alike ones are replaced by their mean, and
afterwards each gets the answer of the mean it went into. As A1111 does it: only where the U-Net works at the latents' full
size, in self-attention alone, and with the top left token of every 2 x 2 cell as the one that others merge into.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from modules.patches.hooks import argument, hooks

CELL = 2  # tokens a side


@dataclass(frozen=True, eq=False)
class Matching:
    """Which of N tokens merge. Targets (D,) and sources (S,) are positions of tokens, the same in every picture; the rest are
    positions among those two: `kept` (B, S - r) sources stay, `merged` (B, r) ones go into the targets `into` (B, r)."""

    targets: Tensor
    sources: Tensor
    kept: Tensor
    merged: Tensor
    into: Tensor

    def merge(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N - r, C): sources that stay, then targets, each the mean of itself and what went into it."""
        sources, targets = x[:, self.sources], x[:, self.targets]
        merged = sources.gather(1, _wide(self.merged, x))
        targets = targets.scatter_reduce(1, _wide(self.into, x), merged, "mean", include_self=True)
        return torch.cat([sources.gather(1, _wide(self.kept, x)), targets], dim=1)

    def unmerge(self, y: Tensor) -> Tensor:
        """(B, N - r, C) -> (B, N, C): every token its own answer, or that of its target."""
        kept, targets = y.split([self.kept.shape[1], len(self.targets)], dim=1)
        sources = y.new_empty(len(y), len(self.sources), y.shape[2])
        sources.scatter_(1, _wide(self.kept, y), kept)
        sources.scatter_(1, _wide(self.merged, y), targets.gather(1, _wide(self.into, y)))
        x = y.new_empty(len(y), len(self.sources) + len(self.targets), y.shape[2])
        x[:, self.sources], x[:, self.targets] = sources, targets
        return x


def match(x: Tensor, size: tuple[int, int], ratio: float) -> Matching:
    """The matching of tokens x (B, H W, C), H, W = size, that merges the r = ratio H W sources most like a target.

    Likeness is the cosine. Each picture is matched by itself. Tokens outside whole cells are sources.
    """
    height, width = size
    target = torch.zeros(height, width, dtype=torch.bool, device=x.device)
    target[: height // CELL * CELL : CELL, : width // CELL * CELL : CELL] = True
    targets, sources = target.flatten().nonzero()[:, 0], (~target).flatten().nonzero()[:, 0]
    unit = normalize(x, dim=-1)
    best, nearest = (unit[:, sources] @ unit[:, targets].transpose(1, 2)).max(dim=-1)  # (B, S)
    r = min(len(sources), int(height * width * ratio))
    order = best.argsort(dim=-1, descending=True)
    merged, kept = order[:, :r], order[:, r:]
    return Matching(targets, sources, kept, merged, nearest.gather(1, merged))


@contextmanager
def token_merging(unet: nn.Module, ratio: float) -> Iterator[None]:
    """Merge the given part of the tokens, 0 to 0.75, in a diffusers U-Net's self-attention at full size."""
    size = [0, 0]  # of the latents in work

    def measure(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        size[:] = argument(args, kwargs, 0, "sample").shape[-2:]

    with hooks() as hook:
        hook.before(unet, measure)
        for block in unet.modules():
            attention = getattr(block, "attn1", None)
            if isinstance(attention, nn.Module):
                merger = _Merger(size, ratio)
                hook.before(block, merger.look)
                hook.before(attention, merger.merge)
                hook.after(attention, merger.unmerge)
        yield


class _Merger:
    """Merging in one transformer block. Tokens are matched by the block's input, before it is normalised."""

    def __init__(self, size: list[int], ratio: float) -> None:
        self._size = size
        self._ratio = ratio
        self._matching: Matching | None = None

    def look(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = argument(args, kwargs, 0, "hidden_states")
        height, width = self._size
        full = x.shape[1] == height * width and min(height, width) >= CELL
        self._matching = match(x, (height, width), self._ratio) if full else None

    def merge(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        return ((self._matching.merge(args[0]), *args[1:]), kwargs) if self._matching else None

    def unmerge(self, output: Tensor) -> Tensor:
        matching, self._matching = self._matching, None
        return matching.unmerge(output) if matching else output


def _wide(index: Tensor, like: Tensor) -> Tensor:
    """(B, n) -> (B, n, C), for gather and scatter."""
    return index[..., None].expand(-1, -1, like.shape[2])
