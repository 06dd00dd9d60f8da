"""Block weights of one network, in the order that the LoRA Block Weight extension made common: BASE, IN, M, OUT."""

from collections.abc import Sequence

from modules.core.errors import InputError
from modules.networks.naming import UNET
from modules.networks.targets import Target

_INPUTS = {17: 12, 26: 12, 12: 9, 20: 9}
"""Numbers of weights, and how many input blocks the U-Net has that they are for."""

_LISTED = {
    17: (("input", (1, 2, 4, 5, 7, 8)), ("middle", (0,)), ("output", tuple(range(3, 12)))),
    12: (("input", (4, 5, 7, 8)), ("middle", (0,)), ("output", tuple(range(6)))),
}
"""Blocks that short lists name: those with attention. The others keep 1."""


class BlockWeights:
    """The weight of each layer; 1 for all without `weights`. Raises InputError for weights that the network has no blocks for."""

    def __init__(self, weights: Sequence[float], inputs: int, model: str, network: str) -> None:
        self._base = weights[0] if weights else 1.0
        self._of: dict[tuple[str, int], float] = {}
        if not weights:
            return
        if _INPUTS[len(weights)] != inputs:
            has = f"{2 * inputs + 1} blocks" if inputs else "no such blocks"
            raise InputError(
                "prompt",
                f'"{network}" is given {len(weights)} block weights, "{model}" has {has}: SD 1.x and 2.x take 17 or 26, XL 12 or 20.',
            )
        whole = (("input", tuple(range(inputs))), ("middle", (0,)), ("output", tuple(range(inputs))))
        places = [(side, number) for side, numbers in _LISTED.get(len(weights), whole) for number in numbers]
        self._of = dict(zip(places, weights[1:], strict=True))

    def of(self, target: Target) -> float:
        """That layer's."""
        if target.role != UNET or target.block is None:
            return self._base
        return self._of.get(target.block, 1.0)
