"""Which block of a U-Net a tensor belongs to."""

import re
from collections.abc import Iterable

from modules.families.ldm_keys import UNET
from modules.requests.block_weights import fitted, is_preset, read_block_weights

_NUMBERED = re.compile(r"(input|output)_blocks\.(\d+)\.")


class Blocks:
    """Numbers the blocks of a U-Net: its input blocks, the middle, its output blocks; the time's and label's embeddings count
    with the first, the last convolution with the last."""

    def __init__(self, names: Iterable[str]) -> None:
        found = [m for name in names if name.startswith(UNET) and (m := _NUMBERED.match(name, len(UNET)))]
        self._inputs = 1 + max((int(m[2]) for m in found if m[1] == "input"), default=-1)
        self._outputs = 1 + max((int(m[2]) for m in found if m[1] == "output"), default=-1)

    @property
    def count(self) -> int:
        """How many there are; 0 without a U-Net."""
        return self._inputs + 1 + self._outputs if self._inputs else 0

    def of(self, name: str) -> int | None:
        """The block's number from 0; None for what is in no block."""
        if not name.startswith(UNET) or not self.count:
            return None
        rest = name.removeprefix(UNET)
        if rest.startswith(("time_embed.", "label_emb.")):
            return 0
        if rest.startswith("middle_block."):
            return self._inputs
        if rest.startswith("out."):
            return self.count - 1
        numbered = _NUMBERED.match(rest)
        if not numbered:
            return None
        return int(numbered[2]) + (self._inputs + 1 if numbered[1] == "output" else 0)


class Multipliers:
    """The multiplier of each tensor: one for all, or each block's own (`text`: a preset's name or numbers); raises InputError."""

    def __init__(self, text: str, multiplier: float, names: Iterable[str]) -> None:
        self._blocks = Blocks(names)
        self._base, self._weights = multiplier, ()
        if weights := read_block_weights(text):
            self._base, self._weights = fitted(weights, self._blocks.count, multiplier, preset=is_preset(text))

    def of(self, name: str) -> float:
        """That tensor's."""
        block = self._blocks.of(name) if self._weights else None
        return self._base if block is None else self._weights[block]
