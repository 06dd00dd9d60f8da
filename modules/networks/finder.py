"""Network files by the names in prompts, read once each."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

from modules.core.errors import ModelFileError, UnknownName
from modules.core.paths import EMBEDDING, HYPERNETWORK, LORA, Paths
from modules.library.embedding_pictures import PICTURES
from modules.library.hashes import HashCache
from modules.library.index import Index
from modules.library.models import Model, Models
from modules.library.walk import walk
from modules.networks.embeddings import Embedding, read_embedding
from modules.networks.files import NetworkFile, read_network
from modules.networks.hypernetworks import Hypernetwork, read_hypernetwork

KEPT = 8
"""Networks whose files stay mapped: the last ones used."""

Stamp = tuple[Hashable, ...]


class Finder:
    """Over one installation's folders, which are looked at whenever something is asked for. Not for several threads at once."""

    def __init__(self, paths: Paths, hashes: HashCache) -> None:
        self._paths = paths
        self._hashes = hashes
        self._index = Index(paths.cache)
        self._read: OrderedDict[Stamp, Any] = OrderedDict()
        self._embeddings: dict[Stamp, Embedding | None] = {}

    def lora(self, name: str) -> tuple[NetworkFile, Stamp] | None:
        """The network of that file name, alias or hash, and what changes when the file does; None if there is none.

        Raises ModelFileError for a file that cannot be used.
        """
        return self._network(LORA, name, read_network)

    def hypernetwork(self, name: str) -> tuple[Hypernetwork, Stamp] | None:
        """As `lora`."""
        return self._network(HYPERNETWORK, name, read_hypernetwork)

    def has(self, kind: str, name: str) -> bool:
        """Is there one of that kind and name?"""
        return self._find(kind, name) is not None

    def lora_hash(self, name: str) -> str:
        """The 12 digits of A1111's `Lora hashes`; "" for a file that is gone."""
        model = self._find(LORA, name)
        return self._hashes.lora_hash(model.path) if model else ""

    def names(self, kind: str) -> list[str]:
        """What there is of that kind."""
        return [model.stem for model in self._models(kind).list()]

    def embeddings(self) -> tuple[list[Embedding], list[str]]:
        """Every textual inversion by its file's name, without its hash, and a sentence for each file that cannot be used."""
        found: dict[str, Embedding] = {}
        troubles = []
        files = [model.path for model in self._models(EMBEDDING).list()]
        pictures = [Path(seen.path) for root in self._paths.folders(EMBEDDING) for seen in walk(root, PICTURES)]
        kept: dict[Stamp, Embedding | None] = {}
        for path in (*files, *(p for p in pictures if not p.stem.endswith(".preview"))):
            try:
                stamp = _stamp(path)
                known = self._embeddings
                kept[stamp] = embedding = known[stamp] if stamp in known else read_embedding(path, path.stem)
            except ModelFileError as error:
                troubles.append(error.message)
                continue
            if embedding:
                found.setdefault(embedding.name.casefold(), replace(embedding, path=path))
        self._embeddings = kept
        return list(found.values()), troubles

    def embedding_hash(self, embedding: Embedding) -> str:
        """The first 12 digits of its file's sha256."""
        return self._hashes.sha256(embedding.path)[:12] if embedding.path else ""

    def _models(self, kind: str) -> Models:
        return Models(kind, self._paths, self._index, self._hashes)

    def _find(self, kind: str, name: str) -> Model | None:
        try:
            return self._models(kind).find(name, "prompt")
        except UnknownName:
            return None

    def _network(self, kind: str, name: str, read: Callable[[Path, str], Any]) -> tuple[Any, Stamp] | None:
        model = self._find(kind, name)
        if model is None:
            return None
        stamp = _stamp(model.path)
        if stamp not in self._read:
            self._read[stamp] = read(model.path, model.stem)
            if len(self._read) > KEPT:
                self._read.popitem(last=False)
        self._read.move_to_end(stamp)
        return self._read[stamp], stamp


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise ModelFileError(f'"{path.name}" cannot be read: {error.strerror}. Put the file back.') from error
    return str(path), status.st_size, status.st_mtime_ns
