"""The families of models that can be drawn with, and which of them a file is of."""

from collections.abc import Mapping
from typing import Protocol, cast

from torch import Tensor

from modules.devices.choice import Compute
from modules.families import (
    aura_flow,
    chroma,
    cogview4,
    flux,
    flux2,
    lumina2,
    pixart,
    pixart_alpha,
    qwen_image,
    sana,
    sd1,
    sd2,
    sd3,
    sdxl,
    z_image,
)
from modules.families.autoencoders import Autoencoder
from modules.families.model import LoadedModel
from modules.families.source import Parts, Shapes, Source


class Family(Protocol):
    """What a module of this package offers; `LABEL` is what users call it."""

    LABEL: str

    def detect(self, shapes: Shapes) -> bool:
        """Is what stands behind BACKBONE, under its original names or diffusers', a network of this family?"""
        ...

    def parts(self, shapes: Shapes) -> Parts:
        """The parts it needs besides, and the prefixes they stand behind."""
        ...

    def load(self, source: Source) -> LoadedModel:
        """Build it; raises ModelFileError naming the first tensor that does not fit."""
        ...

    def autoencoder(self, tensors: Mapping[str, Tensor], compute: Compute) -> Autoencoder:
        """Its autoencoder of those tensors; raises ModelFileError naming the first that does not fit."""
        ...


FAMILIES = cast(
    "tuple[Family, ...]",
    (
        sd1,
        sd2,
        sdxl,
        sd3,
        flux,
        chroma,
        aura_flow,
        z_image,
        lumina2,
        qwen_image,
        flux2,
        cogview4,
        pixart_alpha,
        pixart,
        sana,
    ),
)


def family_of(shapes: Shapes) -> Family | None:
    """The family of a checkpoint with these tensors."""
    return next((family for family in FAMILIES if family.detect(shapes)), None)


def missing_parts(family: Family, shapes: Shapes) -> list[str]:
    """The kinds of the parts that a checkpoint of that family lacks; those that it names OPTIONAL are none."""
    wanted, optional = family.parts(shapes).items(), getattr(family, "OPTIONAL", ())
    lacking = (kind for kind, prefix in wanted if not any(name.startswith(prefix) for name in shapes))
    return [kind for kind in lacking if kind not in optional]


def names() -> str:
    """What users call the families."""
    return ", ".join(family.LABEL for family in FAMILIES)
