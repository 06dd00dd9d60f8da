"""What networks may be put on although it runs compiled: its weights are exchanged, and it is compiled again, or what they are is added
to what its layers say, and it is not."""

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.compiled import CompiledPart
from modules.devices.edits import Edits
from modules.devices.slots import Additions, Factors, joined

Build = Callable[[torch.dtype], Any]
"""Makes the PyTorch module, its weights in that type."""

NOTHING: Mapping[Any, Any] = {}


class Alterable:
    """A part that runs compiled. Alterations have a name and a key, which is another one for others; names are used one after the other."""

    _within = ""
    """Where the skeleton stands in what was traced."""
    _keeps = False
    """Is it small, so that changed weights are kept while they count?"""

    def __init__(self, part: CompiledPart, build: Callable[[], nn.Module]) -> None:
        self._compiled_part = part
        self._build = build
        self._skeleton: nn.Module | None = None
        self._alterations: dict[str, Edits] = {}

    @property
    def skeleton(self) -> nn.Module:
        """The PyTorch module that it was made of, with its own weights: its layers tell where networks fit. Kept once it was asked for."""
        if self._skeleton is None:
            self._skeleton = self._build()
        return self._skeleton

    @property
    def altered(self) -> dict[str, Tensor]:
        """The weights in place of its own, by their names."""
        return {name: tensor for edits in self._alterations.values() for name, tensor in edits.weights().items()}

    @property
    def rough(self) -> bool:
        """Does it compute in bfloat16 or less, so that changes of weights may too?"""
        return self._compiled_part.rough

    def alter(
        self,
        name: str,
        key: Hashable,
        weights: Callable[[], Mapping[str, Tensor]] = dict,
        before: Mapping[str, nn.Module] = NOTHING,
    ) -> None:
        """From now on compute with these, named as in the skeleton; Edits says more."""
        if self._keeps:
            weights = partial(dict, weights())
        self._alterations[name] = Edits(key=key, weights=weights, before=before)
        self._tell()

    def add(self, name: str, key: Hashable, factors: Callable[[], Mapping[str, Factors]]) -> None:
        """From now on add these to what layers say, by their paths in the skeleton: an alteration for which nothing is compiled again,
        but for the first one of them."""
        self._alterations[name] = Edits(additions=Additions(key=key, factors=factors))
        self._tell()

    def restore(self, name: str) -> None:
        """Leave that alteration out again."""
        if self._alterations.pop(name, None):
            self._tell()

    def _tell(self) -> None:
        additions = [edits.additions for edits in self._alterations.values() if edits.additions]
        self._compiled_part.edit(
            Edits(
                key=tuple((name, edits.key) for name, edits in self._alterations.items() if not edits.additions),
                additions=joined(additions, self._within) if additions else None,
                weights=lambda: {self._within + name: tensor for name, tensor in self.altered.items()},
                before={
                    self._within + path: module
                    for edits in self._alterations.values()
                    for path, module in edits.before.items()
                },
            )
        )


def kept_type(tensors: Mapping[str, Tensor]) -> torch.dtype:
    """The type to convert weights in: their own where it is of 16 bits, so that nothing is copied."""
    types = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    return types.pop() if len(types) == 1 and types <= {torch.float16, torch.bfloat16} else torch.float32
