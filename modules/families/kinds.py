"""The families of models that can be drawn with, and which of them a file is of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

from torch import Tensor

from modules.devices.choice import Compute
from modules.families import sd1, sd2, sdxl
from modules.families.folder import is_folder, read_folder
from modules.families.model import LoadedModel
from modules.families.weights import read_weights, shapes_of
from modules.library.header import Header
from modules.library.prediction import Prediction


class Family(Protocol):
    """What a module of this package offers."""

    def detect(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Do these tensors make a whole checkpoint of the family?"""
        ...

    def load(
        self,
        tensors: Mapping[str, Tensor],
        *,
        name: str,
        sha256: str,
        native_size: int | None,
        compute: Compute,
        prediction: Prediction | None = None,
    ) -> LoadedModel:
        """The model; `prediction` is what its file says it predicts, if it says so. Raises ModelFileError."""
        ...


FAMILIES = cast("tuple[Family, ...]", (sd1, sd2, sdxl))
NAMES = "Stable Diffusion 1.x, 2.x and XL"


def family_of(shapes: Mapping[str, tuple[int, ...]]) -> Family | None:
    """The family of a checkpoint with these tensors."""
    return next((family for family in FAMILIES if family.detect(shapes)), None)


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The tensors of a file or of a diffusers folder, under a single file's names; raises ModelFileError."""
    return read_folder(path) if is_folder(path) else read_weights(path)


def header_of(path: Path) -> Header:
    """Names, shapes and metadata of a file or of a diffusers folder; raises ModelFileError."""
    if not is_folder(path):
        return shapes_of(path)
    return Header(shapes={name: tuple(tensor.shape) for name, tensor in read_folder(path).items()})
