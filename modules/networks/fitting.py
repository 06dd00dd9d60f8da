"""Which layers of a model a network changes, and by how much."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from modules.networks.blocks import BlockWeights
from modules.networks.files import NetworkFile
from modules.networks.kinds.change import Change
from modules.networks.naming import UNET
from modules.networks.patch import Use
from modules.networks.tags import Wanted
from modules.networks.targets import Target, Targets


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The layers that fit, with what is done to them and their blocks' weights; `total`: those that the network has."""

    layers: Sequence[tuple[Target, Change, float]]
    total: int

    @property
    def count(self) -> int:
        """How many fit."""
        return len(self.layers)

    def uses(self, wanted: Wanted) -> Iterator[Use]:
        """The changes at the multipliers of a tag; those of nothing are left out."""
        for target, change, weight in self.layers:
            amount = weight * (wanted.unet if target.role == UNET else wanted.text)
            if amount:
                yield Use(target=target, change=change, amount=amount, rank=wanted.rank)


def fit(file: NetworkFile, wanted: Wanted, targets: Targets, model: str) -> Fitted:
    """What of a network fits a model; raises InputError for block weights that do not."""
    blocks = BlockWeights(wanted.blocks, targets.input_blocks, model, wanted.name)
    layers = []
    for (role, path), change in file.changes.items():
        target = targets.find(role, path)
        if target and change.fits(_shape(target)):
            layers.append((target, change, blocks.of(target)))
    return Fitted(layers=layers, total=len(file.changes))


def _shape(target: Target) -> torch.Size:
    """Of the weights of a layer, joined."""
    first, *others = (weight.shape for weight in target.weights)
    return torch.Size((first[0] + sum(shape[0] for shape in others), *first[1:]))
