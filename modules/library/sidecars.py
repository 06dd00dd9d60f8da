"""What the user writes about a model: A1111's `X.json` beside it, and its preview picture."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.core.errors import InputError, ModelFileError, short
from modules.core.files import write_atomic
from modules.core.paths import EMBEDDING, HYPERNETWORK, Paths
from modules.library.descriptions import MAX_SIDECAR
from modules.library.embedding_pictures import read_hidden
from modules.library.header import open_regular
from modules.library.rows import Row


class Sidecars:
    """Reads and writes them; one writes at a time. Folders of other programs, which were taken over, are never written to."""

    def __init__(self, paths: Paths) -> None:
        self._foreign = {str(folder): kind for kind, folder in paths.taken_over}
        self._lock = threading.Lock()

    def read(self, row: Row) -> dict[str, Any]:
        """All that the model's `X.json` holds, {} without one; raises InputError for a file that is no JSON object."""
        path = Path(row.path).with_suffix(".json")
        try:
            with open_regular(path) as file:
                stored = json.loads(file.read(MAX_SIDECAR + 1))
        except ModelFileError:
            if path.exists():
                raise
            return {}
        except (ValueError, RecursionError, OSError):
            stored = None
        if not isinstance(stored, dict):
            raise InputError(
                "model", f"{short(path.name)} holds no JSON object that can be read. Mend or remove it first."
            )
        return stored

    def write(self, row: Row, values: Mapping[str, Any]) -> None:
        """Set these keys of `X.json` and keep the others as they are; raises InputError, StorageError."""
        self._check(row)
        with self._lock:
            stored = {**self.read(row), **values}
            text = json.dumps(stored, indent=4, ensure_ascii=False)
            try:
                data = text.encode()
            except UnicodeEncodeError:  # halves of surrogate pairs, which A1111 kept as \ud800
                data = json.dumps(stored, indent=4).encode()
            write_atomic(Path(row.path).with_suffix(".json"), data)

    def write_preview(self, row: Row, png: bytes) -> None:
        """Make that PNG file the model's preview, where A1111 puts it; raises InputError, StorageError."""
        self._check(row)
        plain, own = (Path(row.path).with_suffix(end) for end in (".png", ".preview.png"))
        path = own if row.kind in (EMBEDDING, HYPERNETWORK) and not plain.exists() else plain
        with self._lock:
            if row.kind == EMBEDDING and path.exists() and _is_embedding(path):
                raise InputError(
                    "model", f"{short(path.name)} is an embedding itself: it cannot be replaced by a preview."
                )
            write_atomic(path, png)

    def _check(self, row: Row) -> None:
        if row.root in self._foreign:
            raise InputError(
                "model",
                f"{short(row.name)} lies in a folder of another program, where nothing is written. Copy it into this one's models.",
            )
        if Path(row.path).is_dir():
            raise InputError("model", f"{short(row.name)} is a folder: notes and previews are kept beside files alone.")


def _is_embedding(path: Path) -> bool:
    try:
        return read_hidden(path) is not None
    except ModelFileError:
        return False
