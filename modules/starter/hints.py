"""What the U-Net is told to know while it trains: which thing and colour each cell of the latents shows.

Heads on its inner features, as REPA aligns a diffusion transformer's (arXiv:2410.06940), with labels in the place of
another network's features: the words are bound to places long before the noise is predicted well.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .parts import CHANNELS, make_unet
from .reader import CELL
from .scene import COLOURS, KINDS, Scene

NOTHING = -100
HEADS = len(KINDS) + 1 + len(COLOURS)


class Hinted(nn.Module):
    """The U-Net with the heads that exist for its training only."""

    def __init__(self, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__()
        self.unet = make_unet(channels)
        self.heads = nn.Conv2d(channels[1], HEADS, 1)
        self._features = torch.empty(0)
        self.unet.up_blocks[-2].register_forward_hook(self._keep)

    def _keep(self, block: nn.Module, inputs: Any, features: Tensor) -> None:
        self._features = features

    def forward(self, noisy: Tensor, t: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 4, 16, 16), (B,), (B, 77, C) -> predicted noise and (B, HEADS, 16, 16) logits."""
        noise = self.unet(noisy, t, states).sample
        logits, self._features = self.heads(self._features), torch.empty(0)
        return noise, logits


def labels(scenes: list[Scene], cells: int = 16) -> tuple[Tensor, Tensor]:
    """Per cell (B, 16, 16): the kind shown, len(KINDS) for none; and the colour, NOTHING where no thing is."""
    kind = torch.full((len(scenes), cells, cells), len(KINDS))
    colour = torch.full((len(scenes), cells, cells), NOTHING)
    grid = torch.arange(cells) + 0.5
    for i, scene in enumerate(scenes):
        for thing in scene.things:
            far = (grid[None, :] - thing.x / CELL).square() + (grid[:, None] - thing.y / CELL).square()
            inside = far < (0.8 * thing.width / 2 / CELL) ** 2
            kind[i][inside], colour[i][inside] = KINDS.index(thing.kind), COLOURS.index(thing.colour)
    return kind, colour


def hint_loss(logits: Tensor, scenes: list[Scene], told: Tensor) -> Tensor:
    """Cross entropy of both maps over the samples whose caption was `told` (B,) bool; things weigh as much as the rest."""
    kind, colour = (one.to(logits.device) for one in labels(scenes))
    kind[~told], colour[~told] = NOTHING, NOTHING
    kinds, colours = logits.float().split((len(KINDS) + 1, len(COLOURS)), dim=1)
    weights = torch.ones(len(KINDS) + 1, device=logits.device)
    weights[-1] = 0.15
    return functional.cross_entropy(kinds, kind, weights, ignore_index=NOTHING) + functional.cross_entropy(
        colours, colour, ignore_index=NOTHING
    )
