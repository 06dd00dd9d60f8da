"""First-block caching for transformers, as in ParaAttention and diffusers: what the first block does tells how much has changed.

Where the first block's residual r differs from that of the step computed last by less than a threshold, mean|r - r'| / mean|r'|, the
other blocks are taken to add what they added there. diffusers' own decides for a batch at once, and knows neither blocks that
end without a text stream nor streams that join; here each row is decided by itself, so that a picture does not depend on its batch.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modules.patches.caching import Rows
from modules.patches.hooks import argument, hooks

LISTS = ("transformer_blocks", "joint_transformer_blocks", "single_transformer_blocks", "layers")
TEXT_FIRST = (
    *("FluxTransformerBlock", "FluxSingleTransformerBlock", "Flux2TransformerBlock", "ChromaTransformerBlock"),
    *("JointTransformerBlock", "QwenImageTransformerBlock", "AuraFlowJointTransformerBlock"),
)
PICTURE_FIRST = ("CogView4TransformerBlock",)
ALONE = (
    *("Flux2SingleTransformerBlock", "ChromaSingleTransformerBlock", "AuraFlowSingleTransformerBlock"),
    *("BasicTransformerBlock", "SanaTransformerBlock", "Lumina2TransformerBlock", "ZImageTransformerBlock"),
)
States = tuple[Tensor, ...]
"""The picture's tokens (B, N, C), and the text's (B, T, C) where they go separately."""


def blocks_of(backbone: Any) -> list[nn.Module]:
    """The blocks that a backbone computes one after the other; none if it is no transformer that this knows."""
    if not isinstance(backbone, nn.Module):
        return []
    lists = [part for name, part in backbone.named_children() if name in LISTS and isinstance(part, nn.ModuleList)]
    blocks = [block for part in lists for block in part]
    return blocks if all(type(block).__name__ in (*TEXT_FIRST, *PICTURE_FIRST, *ALONE) for block in blocks) else []


@contextmanager
def first_block_cache(backbone: nn.Module, rows: Rows, *, threshold: float) -> Iterator[None]:
    """Leave out all blocks but the first where it changes less than that. Calls with rows that were not told of are computed."""
    first, *others = blocks_of(backbone)
    if not others:
        yield
        return
    cache = _Cache(rows, threshold)
    with hooks() as hook:
        hook.around(first, _Block(first, cache.first).compute)
        for block in others[:-1]:
            hook.around(block, _Block(block, cache.middle).compute)
        hook.around(others[-1], _Block(others[-1], cache.last).compute)
        yield


class _Block:
    """A block as a function of states: `compute(forward, states)` answers for it."""

    def __init__(self, block: nn.Module, compute: Callable[[Callable[[], States], States], States]) -> None:
        name = type(block).__name__
        self._order = (1, 0) if name in TEXT_FIRST else (0, 1) if name in PICTURE_FIRST else (0,)
        self._compute = compute

    def compute(self, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """As Hooks.around wants it."""
        names = ("hidden_states", "encoder_hidden_states")[: len(self._order)]
        states = tuple(argument(args, kwargs, i, name) for i, name in enumerate(names))
        found = self._compute(lambda: self._states(forward(*args, **kwargs)), states)
        if len(self._order) == 1:
            return found[0]
        answer: list[Tensor | None] = [None, None]  # the last block of Stable Diffusion 3 ends without text
        for place, state in zip(self._order, found, strict=False):
            answer[place] = state
        return tuple(answer)

    def _states(self, output: Any) -> States:
        if len(self._order) == 1:
            return (output[0] if isinstance(output, tuple) else output,)
        return tuple(output[place] for place in self._order if output[place] is not None)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Kept:
    """Of the rows of one group: the sizes of the states, what the first block added to the picture, and the others to all."""

    sizes: tuple[torch.Size, ...]
    first: Tensor
    others: States


class _Cache:
    """What the blocks did for each group of rows. Within a call: what goes on, and the rows that use it."""

    def __init__(self, rows: Rows, threshold: float) -> None:
        self._rows = rows
        self._threshold = threshold
        self._kept: dict[str, _Kept] = {}
        self._groups: tuple[tuple[str, int], ...] = ()
        self._start: States = ()  # behind the first block
        self._residual = torch.empty(0)
        self._reused = torch.empty(0, dtype=torch.bool)  # (B,)
        self._old: _Kept | None = None

    def first(self, forward: Callable[[], States], states: States) -> States:
        """The first block."""
        self._start = forward()
        self._residual = self._start[0] - states[0]
        self._groups = self._rows.of(states[0])
        self._old = self._joined()
        self._reused = torch.zeros(len(states[0]), dtype=torch.bool)
        if self._old:
            before = self._old.first
            change = _mean(self._residual - before) / _mean(before).clamp(min=torch.finfo(torch.float32).tiny)
            self._reused = (change < self._threshold).cpu()
        return self._start

    def middle(self, forward: Callable[[], States], states: States) -> States:
        """A block between the first and the last."""
        return states if self._all_reused else forward()

    def last(self, forward: Callable[[], States], states: States) -> States:
        """The last block: with it all rows are known."""
        start = self._start if len(states) == len(self._start) else (torch.cat(self._start[::-1], dim=1),)  # text first
        if self._all_reused and self._old:
            return tuple(s + r for s, r in zip(start, self._old.others, strict=False))
        found = forward()
        others = tuple(f - s for f, s in zip(found, start, strict=False))
        first = self._residual
        if self._old and self._reused.any():
            first = self._chosen(self._old.first, first)
            others = tuple(self._chosen(old, new) for old, new in zip(self._old.others, others, strict=True))
            found = tuple(s + r for s, r in zip(start, others, strict=False))
        self._keep(first, others)
        return found

    @property
    def _all_reused(self) -> bool:
        return bool(self._reused.all())

    def _chosen(self, old: Tensor, new: Tensor) -> Tensor:
        """The old rows where they are used again, else the new ones."""
        mask = self._reused.to(new.device).view(-1, *[1] * (new.ndim - 1))
        return torch.where(mask, old, new)

    def _joined(self) -> _Kept | None:
        """What is kept of this call's rows; None if that is not all of it, or of other sizes (another length of the prompt)."""
        kept = [self._kept.get(group) for group, _ in self._groups]
        found = [one for one in kept if one is not None and one.sizes == self._sizes]
        if not found or len(found) < len(kept):
            return None
        joined = _Kept(
            sizes=self._sizes,
            first=torch.cat([one.first for one in found]),
            others=tuple(torch.cat(state) for state in zip(*(one.others for one in found), strict=True)),
        )
        return joined if len(joined.first) == len(self._residual) else None

    @property
    def _sizes(self) -> tuple[torch.Size, ...]:
        return tuple(state.shape[1:] for state in self._start)

    def _keep(self, first: Tensor, others: States) -> None:
        counts = [count for _, count in self._groups]
        if not counts:
            return
        parts = zip(first.split(counts), *(state.split(counts) for state in others), strict=True)
        for (group, _), (residual, *states) in zip(self._groups, parts, strict=True):
            self._kept[group] = _Kept(sizes=self._sizes, first=residual, others=tuple(states))


def _mean(x: Tensor) -> Tensor:
    """(B, ...) -> (B,), of absolute values."""
    return x.float().abs().flatten(1).mean(dim=1)
