"""What is added inside a transformer that draws, block by block, while somebody says so: the residuals of ControlNets."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class TokenCall(NamedTuple):
    """Some rows of what a transformer is asked: latents x (N, C, h, w) in whole patches, t (N,) in [0, 1000), N texts (T_i, D), what else
    the prompts tell (N, P), and the scale of the guidance that it is distilled from; None where its family has no such."""

    x: Tensor
    t: Tensor
    texts: Sequence[Tensor]
    vector: Tensor | None = None
    guidance: float | None = None

    def of(self, rows: Sequence[int]) -> "TokenCall":
        """Those rows of it."""
        at = list(rows)
        vector = None if self.vector is None else self.vector[at]
        return self._replace(x=self.x[at], t=self.t[at], texts=[self.texts[i] for i in at], vector=vector)


@dataclass(frozen=True, kw_only=True)
class Added:
    """A residual (N, L, D), or None, for each of a transformer's blocks, and for each of its single-stream blocks if it has both kinds."""

    blocks: Sequence[Tensor | None] = ()
    singles: Sequence[Tensor | None] = ()

    def like(self, other: Tensor, tokens: int | None = None) -> "Added":
        """The same on that tensor's device, in its type; filled up with zeros to that many tokens."""

        def at(one: Tensor | None) -> Tensor | None:
            if one is None:
                return None
            short = (tokens or one.shape[1]) - one.shape[1]
            return torch.nn.functional.pad(one.to(other), (0, 0, 0, short)) if short else one.to(other)

        known: dict[int, Tensor | None] = {}  # a residual may stand at several places

        def each(found: Sequence[Tensor | None]) -> list[Tensor | None]:
            for one in found:
                if id(one) not in known:
                    known[id(one)] = at(one)
            return [known[id(one)] for one in found]

        return Added(blocks=each(self.blocks), singles=each(self.singles))


TokenAdds = Callable[[TokenCall, Sequence[int], int], Added | None]
"""Those rows of the network's call, their numbers, and how many rows it has in all -> what is added; None: nothing."""

Spell = Callable[[Added, Tensor], dict[str, Any]]
"""What is added, and a tensor of the kind that the transformer computes with -> its arguments."""


class Adding:
    """Held by a network and by all that it is told to be."""

    def __init__(self) -> None:
        self._adds: TokenAdds | None = None

    @contextmanager
    def adding(self, adds: TokenAdds) -> Iterator[None]:
        """Add what `adds` says at every call meanwhile."""
        before, self._adds = self._adds, adds
        try:
            yield
        finally:
            self._adds = before

    def within(
        self, backbone: Any, call: TokenCall, rows: Sequence[int], count: int, spell: Spell
    ) -> AbstractContextManager[None]:
        """Within this, a call of the transformer is given what is added. It is computed once its weights are in place."""
        return self._within(self._adds, backbone, call, rows, count, spell) if self._adds else nullcontext()

    @contextmanager
    def _within(
        self, adds: TokenAdds, backbone: Any, call: TokenCall, rows: Sequence[int], count: int, spell: Spell
    ) -> Iterator[None]:
        def see(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
            found = adds(call, rows, count)
            return None if found is None else (args, {**kwargs, **spell(found, _first((args, kwargs)))})

        handle = backbone.register_forward_pre_hook(see, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()


def _first(value: Any) -> Tensor:
    """The first tensor in there."""
    while not isinstance(value, Tensor):
        value = next(
            one for one in (value.values() if isinstance(value, dict) else value) if isinstance(one, dict) or len(one)
        )
    return value
