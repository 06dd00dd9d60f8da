"""The models of one kind in the user's folders, whatever the kind."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modules.core.errors import UnknownName
from modules.core.paths import CHECKPOINT, DIFFUSION_MODEL, EMBEDDING, KINDS, TOKENIZER, Paths
from modules.library.checkpoints import is_vae
from modules.library.hashes import HashCache, Hashes
from modules.library.index import BATCH, Index
from modules.library.rows import Row
from modules.library.signs import DIFFUSION
from modules.library.walk import SUFFIXES

PICKLES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


def suffixes_of(kind: str) -> tuple[str, ...]:
    """What the names of that kind's files end with."""
    if kind in (CHECKPOINT, DIFFUSION_MODEL):
        return SUFFIXES
    return {EMBEDDING: (".safetensors", ".pt", ".bin"), TOKENIZER: ()}.get(kind, PICKLES)


@dataclass(frozen=True, kw_only=True)
class Model:
    """One file of the index, and its hashes as far as they were computed."""

    row: Row
    hashes: Hashes = field(default_factory=Hashes)

    @functools.cached_property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.row.path)

    @property
    def name(self) -> str:
        """Its path below its folder, with forward slashes."""
        return self.row.name

    @functools.cached_property
    def stem(self) -> str:
        """The name of the file alone, without its suffix: what A1111 calls a LoRA by."""
        return self.path.stem

    @property
    def alias(self) -> str:
        """The name that its trainer gave it, which A1111 knows a LoRA by too; its stem if none did."""
        return self.row.alias or self.stem


class Models:
    """Finds the models of one kind: a name in `KINDS`. Nothing has to be refreshed: the folders are looked at at every call."""

    def __init__(self, kind: str, paths: Paths, index: Index, hashes: HashCache) -> None:
        self.kind = kind
        self._index = index
        self._hashes = hashes
        owners = {folder: owner for owner in reversed(KINDS) for folder in paths.folders(owner)}
        self._folders = [(folder, owners[folder]) for folder in paths.folders(kind)]

    def list(self) -> list[Model]:
        """All files, sorted by name; of equal names the first folder's counts. Never raises.

        A file that cannot be used is there too, with its `row.trouble`.
        """
        found: dict[str, Row] = {}
        for folder, kind in self._folders:
            for name, row in self._index.refresh(kind, folder, suffixes_of(kind)).items():
                if self._is_of_kind(row):
                    found.setdefault(name, row)
        hashes = self._hashes.all()
        return [
            Model(row=found[name], hashes=hashes.get((found[name].path, found[name].stamp), Hashes()))
            for name in sorted(found, key=lambda name: (name.casefold(), name))
        ]

    def read_list(self) -> Sequence[Model]:
        """As `list`, once every file has been looked into."""
        models: Sequence[Model] = self.list()
        unread = [model.row.id for model in models if not model.row.read]
        for at in range(0, len(unread), BATCH):
            self._index.read_some(ids=unread[at : at + BATCH])
        return self.list() if unread else models

    def find(self, name: str, field: str) -> Model:
        """The model of that name, file name, stem, alias or hash, without regard to case; raises UnknownName for `field`."""
        wanted = name.strip().casefold()
        ways: tuple[Callable[[Model], tuple[str | None, ...]], ...] = (
            lambda m: (m.name, m.name.removesuffix(m.path.suffix)),
            lambda m: (m.path.name, m.stem),
            lambda m: (m.row.alias, m.hashes.sha256, m.hashes.auto_v2, m.hashes.auto_v3),
        )
        models: Sequence[Model] = self.list()
        for way in ways:
            if way is ways[-1]:
                models = self.read_list()
            for model in models:
                if wanted in (key.casefold() for key in way(model) if key):
                    return model
        raise UnknownName.among(field, name, [model.stem for model in models])

    def _is_of_kind(self, row: Row) -> bool:
        if self.kind == DIFFUSION_MODEL:
            return row.kind == self.kind or row.role == DIFFUSION
        return self.kind != CHECKPOINT or not is_vae(row.name)


def kind_of(name: str) -> str:
    """The kind of that name, without regard to case; raises UnknownName."""
    found = next((kind for kind in KINDS if kind.casefold() == name.strip().casefold()), None)
    if found is None:
        raise UnknownName.among("kind", name, KINDS)
    return found
