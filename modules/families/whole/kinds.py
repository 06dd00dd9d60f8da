"""The kinds of whole pipelines, and which of them a folder is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

from modules.core.errors import ModelFileError
from modules.devices.choice import Compute
from modules.families.whole import cascade, deepfloyd, kandinsky, unclip
from modules.families.whole.folders import class_of
from modules.families.whole.model import Pipeline


class Kind(Protocol):
    """What a module of a kind offers: the pipeline classes of its folders, and those of the folders that go with them."""

    LABEL: str
    CLASSES: tuple[str, ...]
    COMPANIONS: Mapping[str, str]

    def load(self, path: Path, compute: Compute) -> Pipeline:
        """Build it; raises ModelFileError naming what is missing."""
        ...


KINDS = cast("tuple[Kind, ...]", (unclip, kandinsky, deepfloyd, cascade))


def is_whole(path: Path) -> bool:
    """Is this a folder of a pipeline that runs whole, or one that goes with such a folder?"""
    named = class_of(path)
    return any(named in kind.CLASSES or named in kind.COMPANIONS for kind in KINDS)


def load_whole(path: Path, compute: Compute) -> Pipeline:
    """The pipeline of that folder; raises ModelFileError, also for a folder that only goes with another."""
    named = class_of(path)
    for kind in KINDS:
        if named in kind.CLASSES:
            return kind.load(path, compute)
        if named in kind.COMPANIONS:
            raise ModelFileError(
                f'"{path.name}" is {kind.COMPANIONS[named]} and draws nothing alone. Choose a folder of {kind.LABEL} beside it.'
            )
    raise ModelFileError(f'"{path.name}" is no folder of a pipeline that runs whole. Choose another checkpoint.')
