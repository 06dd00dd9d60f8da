"""Which diffusers folders are whole pipelines, and which of them belong together."""

from collections.abc import Iterable
from pathlib import Path

from modules.core.errors import ModelFileError
from modules.families.folder import INDEX
from modules.families.whole.parts import Folder


def class_of(path: Path) -> str:
    """The pipeline's class that a diffusers folder names; "" for what is none or cannot be read."""
    if not (path / INDEX).is_file():
        return ""
    try:
        named = Folder(path=path).json(INDEX).get("_class_name")
    except ModelFileError:
        return ""
    return named if isinstance(named, str) else ""


def companion(path: Path, classes: Iterable[str]) -> Folder | None:
    """The first folder beside `path` that holds a pipeline of one of those classes."""
    wanted = set(classes)
    beside = sorted(other for other in path.parent.iterdir() if other.is_dir())
    return next((Folder(path=other) for other in beside if class_of(other) in wanted), None)


def needed_companion(path: Path, classes: Iterable[str], label: str, what: str) -> Folder:
    """As `companion`; raises ModelFileError saying `what` is missing where there is none."""
    found = companion(path, classes)
    if found is None:
        raise ModelFileError(f'"{path.name}" is {label} without {what}. Put that folder beside it.')
    return found
