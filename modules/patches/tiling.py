"""Pictures that tile: every convolution sees the opposite edge where it saw zeros."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def tiling(*models: nn.Module) -> Iterator[None]:
    """Circular padding in all padded 2D convolutions of the models, U-Net and autoencoder alike."""
    changed = [
        layer
        for model in models
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and layer.padding not in ((0, 0), "valid")
    ]
    try:
        for layer in changed:
            layer.padding_mode = "circular"
        yield
    finally:
        for layer in changed:
            layer.padding_mode = "zeros"
