"""PixArt alpha (arXiv:2310.00426): as sigma, but over the latents of Stable Diffusion 1.x."""

from collections.abc import Mapping

from torch import Tensor

from modules.devices.choice import Compute
from modules.families import pixart
from modules.families.autoencoders import KlAutoencoder
from modules.families.model import LoadedModel
from modules.families.source import Parts, Shapes, Source

LABEL = "PixArt alpha"


def detect(shapes: Shapes) -> bool:
    """Is this alpha's network?"""
    return pixart.is_pixart(shapes) and pixart.is_alpha(shapes)


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand."""
    return pixart.parts(shapes)


def load(source: Source) -> LoadedModel:
    """Build it; raises ModelFileError naming the first tensor that does not fit."""
    return pixart.load_pixart(source, alpha=True)


def autoencoder(tensors: Mapping[str, Tensor], compute: Compute) -> KlAutoencoder:
    """Its autoencoder of those tensors; raises ModelFileError naming the first that does not fit."""
    return pixart.build_autoencoder(tensors, compute, alpha=True)
