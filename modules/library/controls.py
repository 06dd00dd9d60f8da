"""Control models on disk by the names that users choose, which are the ControlNet extension's: the file's, and eight digits of a hash."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modules.core.errors import UnknownName
from modules.core.paths import Paths
from modules.library.walk import walk

KIND = "ControlNet"
SUFFIXES = (".safetensors", ".sft", ".pth", ".pt", ".bin", ".ckpt")
NAMELESS = ("diffusion_pytorch_model", "diffusion_pytorch_model.fp16", "model", "pytorch_model", "adapter_model")
"""Files that are called after their folder instead."""

HASHED_FROM, HASHED = 0x100000, 0x10000
"""A1111's old hash of models: of so many bytes from there on."""


@dataclass(frozen=True, kw_only=True)
class ControlFile:
    """One file; `name` is what users see, without the hash."""

    path: Path
    name: str

    @property
    def title(self) -> str:
        """As the extension lists it; raises OSError."""
        with self.path.open("rb") as file:
            file.seek(HASHED_FROM)
            return f"{self.name} [{hashlib.sha256(file.read(HASHED)).hexdigest()[:8]}]"


class ControlFiles:
    """Finds them in the folders of that kind, which are looked at at every call."""

    def __init__(self, paths: Paths, kind: str = KIND) -> None:
        self._paths = paths
        self._kind = kind

    def all(self) -> list[ControlFile]:
        """All files, sorted by name; of equal names the first folder's counts. Never raises."""
        found: dict[str, ControlFile] = {}
        for file in self._seen():
            found.setdefault(file.name.casefold(), file)
        return [found[name] for name in sorted(found)]

    def titles(self) -> list[str]:
        """What users choose from."""
        return [title for file in self.all() if (title := _title(file))]

    def find(self, name: str, field: str = "model") -> ControlFile:
        """The file of that title, name or file name, without regard to case, whatever hash stands behind; raises UnknownName."""
        wanted = name.strip().casefold()
        stem = wanted.rpartition(" [")[0] if wanted.endswith("]") else wanted
        files = self.all()
        for file in files:
            if stem in (file.name.casefold(), file.path.name.casefold()):
                return file
        raise UnknownName.among(field, name, ["None", *(file.name for file in files)])

    def _seen(self) -> Iterator[ControlFile]:
        for folder in self._paths.folders(self._kind):
            for seen in walk(folder, SUFFIXES):
                path = Path(seen.path)
                if not seen.is_folder:
                    nameless = path.stem in NAMELESS and path.parent != folder
                    yield ControlFile(path=path, name=path.parent.name if nameless else path.stem)


def _title(file: ControlFile) -> str | None:
    try:
        return file.title
    except OSError:
        return None
