"""Which block weight counts for which layer."""

import pytest
from torch import nn

from modules.core.errors import InputError
from modules.networks.blocks import BlockWeights
from modules.networks.naming import TEXT_1, UNET
from modules.networks.targets import Target

PLACES = [
    ("text", 0),
    ("input", 0),
    ("input", 1),
    ("input", 4),
    ("input", 8),
    ("middle", 0),
    ("output", 0),
    ("output", 3),
]


def weights_of(numbers, inputs):
    blocks = BlockWeights(numbers, inputs, "model", "network")
    found = []
    for side, number in PLACES:
        role, block = (TEXT_1, None) if side == "text" else (UNET, (side, number))
        found.append(blocks.of(Target(role=role, path="x", modules=(nn.Linear(1, 1),), block=block)))
    return found


@pytest.mark.parametrize(
    ("count", "inputs", "expected"),
    [
        (26, 12, [0, 1, 2, 5, 9, 13, 14, 17]),
        (17, 12, [0, 1, 1, 3, 6, 7, 1, 8]),  # those without attention keep 1
        (20, 9, [0, 1, 2, 5, 9, 10, 11, 14]),
        (12, 9, [0, 1, 1, 1, 4, 5, 6, 9]),
        (0, 12, [1] * 8),
    ],
)
def test_order(count, inputs, expected):
    assert weights_of([float(n) for n in range(count)], inputs) == expected


def test_other_blocks_are_refused():
    with pytest.raises(InputError, match='"network" is given 17 block weights, "model" has 19 blocks'):
        weights_of([1.0] * 17, 9)
