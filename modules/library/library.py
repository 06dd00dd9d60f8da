"""All models of one installation, as the web process uses them: listed and searched, read and hashed in the background."""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modules.core.errors import AtelierError, Cancelled
from modules.core.paths import CHECKPOINT, KINDS, LORA, Paths
from modules.library.checkpoints import Checkpoints, weight_file
from modules.library.hashes import HashCache
from modules.library.index import Index
from modules.library.models import Model, Models
from modules.library.rows import Row
from modules.library.vaes import Vaes
from modules.library.walk import Stamp

log = logging.getLogger(__name__)

NICE = 10
REST = 60.0
"""Seconds after an error that is a mistake of ours."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A part of a listing: `total` models match, `unread` files are still to be looked into."""

    models: tuple[Model, ...]
    total: int
    unread: int


class Library:
    """Owns the index and one thread, which reads what is new and then computes the hashes that are missing, one file at a time.

    `hashing`: without it (A1111's --no-hashing) only what is used is hashed. All methods may be called from any thread.
    """

    def __init__(self, paths: Paths, *, hashing: bool = True) -> None:
        self.paths = paths
        self.hashes = HashCache(paths.cache)
        self.index = Index(paths.cache)
        self.checkpoints = Checkpoints(paths.networks, self.hashes)
        self.vaes = Vaes(paths.vaes, self.hashes)
        self._roots = frozenset(str(folder) for kind in KINDS for folder in paths.folders(kind))
        self._hashing = hashing
        self._failed: set[tuple[str, Stamp]] = set()
        self._lock = threading.Lock()
        self._reasons: set[str] = set()
        self._closing = threading.Event()
        self._awake = threading.Event()
        self._fresh = threading.Event()
        self._fresh.set()
        self._free = threading.Event()
        self._free.set()
        self._thread = threading.Thread(target=self._work, name="library", daemon=True)

    def start(self) -> None:
        """Begin to read and hash."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread within a piece of a file; what is done is kept."""
        self._closing.set()
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self.index.close()

    def models(self, kind: str) -> Models:
        """The models of that kind."""
        return Models(kind, self.paths, self.index, self.hashes)

    def search(self, kind: str | None, text: str = "", offset: int = 0, limit: int = 100) -> Listed:
        """The models of that kind (None: of all) whose name, folder, trigger words, description or base hold all words of `text`."""
        found = {model.row.id: model for name in ([kind] if kind else KINDS) for model in self.models(name).list()}
        self.wake()
        if text.strip():
            matching = self.index.matching(text)
            found = {id: model for id, model in found.items() if id in matching}
        chosen = list(found.values())
        return Listed(models=tuple(chosen[offset : offset + limit]), total=len(chosen), unread=self.index.unread())

    def troubles(self, kind: str) -> dict[Path, str]:
        """The files of that kind that cannot be used, as far as they were looked into, and why: a sentence each."""
        self.wake()
        return {model.path: model.row.trouble for model in self.models(kind).list() if model.row.trouble}

    def model(self, id: int) -> Model | None:
        """The model of that id in the index, looked into."""
        self.index.read_some(ids=[id])
        row = self.index.row(id)
        if row is None or row.root not in self._roots:
            return None
        return Model(row=row, hashes=self.hashes.hashes(row.path, row.stamp))

    def look(self) -> None:
        """Look into all folders in the background, read and hash what is new there."""
        self._fresh.set()
        self._awake.set()

    def wake(self) -> None:
        """Let the thread look for what is unread or without hashes."""
        self._awake.set()

    def hold(self, reason: str) -> None:
        """Hash nothing until this reason is released: the disk and the processor are needed."""
        with self._lock:
            self._reasons.add(reason)
            self._free.clear()

    def release(self, reason: str) -> None:
        """Take back `hold`."""
        with self._lock:
            self._reasons.discard(reason)
            if not self._reasons:
                self._free.set()

    @contextlib.contextmanager
    def paused(self, reason: str = "job") -> Iterator[None]:
        """While in here nothing is hashed."""
        self.hold(reason)
        try:
            yield
        finally:
            self.release(reason)

    # -- the thread --

    def _work(self) -> None:
        be_nice()
        while not self._closing.is_set():
            self._awake.clear()
            try:
                if self._fresh.is_set():
                    self._fresh.clear()
                    self.index.keep_only(self._roots)
                    for kind in KINDS:
                        self.models(kind).list()
                while not self._closing.is_set() and self.index.read_some():
                    pass
                if self._hashing:
                    self._hash()
            except Exception:
                if not self._closing.is_set():
                    log.exception("the library goes on after an error")
                    self._closing.wait(REST)
            self._awake.wait()

    def _hash(self) -> None:
        for row in self._unhashed():
            path = weight_file(Path(row.path))
            try:
                self.hashes.complete(path, self._go_on)
            except Cancelled:
                return
            except AtelierError as error:
                self._failed.add((row.path, row.stamp))
                log.info("%s", error.message)
            if self._awake.is_set() and self.index.unread():
                return  # what is new is read first; then on from here

    def _unhashed(self) -> list[Row]:
        """Usable files without hashes, checkpoints first and of each kind the small ones."""
        known = self.hashes.all()
        order = list(KINDS)
        rows = [row for row in self.index.all() if not row.trouble and (row.path, row.stamp) not in self._failed]
        return sorted(
            (row for row in rows if self._is_missing(row, known)), key=lambda r: (order.index(r.kind), r.size)
        )

    def _is_missing(self, row: Row, known) -> bool:
        if row.kind == CHECKPOINT and Path(row.path).is_dir():
            return self.hashes.known(weight_file(Path(row.path))) is None
        found = known.get((row.path, row.stamp))
        return found is None or found.sha256 is None or (row.kind == LORA and found.data_sha256 is None)

    def _go_on(self) -> bool:
        while not self._free.wait(0.2):
            if self._closing.is_set():
                return False
        return not self._closing.is_set()


def be_nice() -> None:
    """Give this thread what the others leave, where the system knows threads (Linux)."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
