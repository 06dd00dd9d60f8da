"""The weights of preprocessors on disk: our folder, and those where A1111's extension, Forge and ComfyUI keep them."""

import logging
from collections.abc import Iterator
from pathlib import Path

from modules.core.errors import ModelFileError
from modules.core.paths import Paths
from modules.library.walk import stamp_of
from modules.requests.preprocessors import FOLDER, PreprocessorEntry, WeightFile

log = logging.getLogger(__name__)

CONFIGS = ("config.json", "model_index.json")
"""What makes a folder a model of transformers or diffusers."""

BESIDE = ("BLIP", "sam", "sams", "grounding-dino", "insightface")
"""Folders below the model roots where A1111's extensions and ComfyUI keep some of them."""

MAX_FILES = 20_000


class PreprocessorFiles:
    """Finds them by name, however deep below the folders they lie: every program sorts them into folders of its own."""

    def __init__(self, paths: Paths) -> None:
        beside = [root / name for root in paths.models for name in BESIDE]
        self._folders = (*paths.folders(FOLDER), *paths.folders("clip_vision"), *beside)
        self.home = paths.own(FOLDER)

    def find(self, weight: WeightFile) -> Path | None:
        """The file, or the folder with a configuration; None if it is not here."""
        for name in (weight.file, *weight.others):
            for root in self._folders:
                for place in _below(root):
                    if place.name.casefold() == name.casefold() and _is_whole(place, folder=weight.is_folder):
                        return place
        return None

    def places(self) -> Iterator[Path]:
        """All files and folders where weights may lie."""
        for root in self._folders:
            yield from _below(root)

    def missing(self, entry: PreprocessorEntry) -> list[WeightFile]:
        """What has to be got before it works."""
        return [weight for weight in entry.weights if self.find(weight) is None]

    def get(self, weight: WeightFile, who: str) -> Path:
        """The file or folder; raises ModelFileError, which says what to get and where it goes."""
        found = self.find(weight)
        if found is None:
            raise ModelFileError(
                f"{who} needs {weight.file} ({size_words(weight.size)}, {weight.source}): paste that address on the tab "
                f"Models, or put it into models/{FOLDER} as {weight.file}."
            )
        return found

    def state(self, path: Path) -> tuple[str, int, int]:
        """What changes when the file does."""
        status = path.stat()
        stamp = stamp_of(status)
        return str(path), stamp.size, stamp.mtime


def size_words(size: int) -> str:
    """A size as people say it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(round(size / 1e6), 1)} MB"


def _is_whole(place: Path, *, folder: bool) -> bool:
    return any((place / name).is_file() for name in CONFIGS) if folder else place.is_file()


def _below(root: Path) -> list[Path]:
    """Everything below a folder, the nearest first; hidden names (downloads that are not whole) left out. Never raises."""
    found: list[Path] = []
    pending = [root]
    while pending and len(found) < MAX_FILES:
        folder = pending.pop(0)
        try:
            entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        except OSError:
            continue
        found += entries
        pending += [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
    return found
