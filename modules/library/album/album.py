"""The album as the web process uses it: filled in the background, told at once of what jobs write."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from modules.core.errors import AtelierError, NotFound
from modules.library.album.reading import read_told, told_of
from modules.library.album.scan import File, differences, pictures_below
from modules.library.album.schema import Entry
from modules.library.album.store import AlbumStore
from modules.library.album.trash import Trash
from modules.library.library import be_nice

log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two looks at the folders while the gallery is in use; ten times that otherwise."""
BATCH = 50


class Album:
    """Owns the database, the trash and one thread. `roots` tells the folders of pictures as they are now; `days`, how long the trash
    keeps what is in it. All methods may be called from any thread."""

    def __init__(self, data: Path, roots: Callable[[], Sequence[Path]], days: Callable[[], int]) -> None:
        self.store = AlbumStore(data / "gallery.sqlite3")
        self.trash = Trash(data / "trash", self.store)
        self.scanning = False
        self._roots = roots
        self._days = days
        self._used = 0.0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="album", daemon=True)

    def start(self) -> None:
        """Begin to look for pictures and to read them."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what is done is kept."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self.store.close()

    def look(self) -> None:
        """Look into the folders now, in the background."""
        self._wake.set()

    def used(self) -> None:
        """The gallery is being looked at."""
        self._used = time.monotonic()

    def roots(self) -> list[Path]:
        """The folders whose pictures are shown; none lies in another."""
        found: list[Path] = []
        for root in sorted(self._roots(), key=lambda path: len(path.parts)):
            if not any(root.is_relative_to(other) for other in found):
                found.append(root)
        return found

    def add(self, path: Path, data: bytes, infotext: str, parents: Sequence[str] = (), owner: str = "") -> None:
        """A picture that was just saved, the hashes of the files that it was made from, and whose it is. Never raises: the next look finds it too."""
        try:
            root = next((root for root in self.roots() if path.resolve().is_relative_to(root)), None)
            if root is None:
                return
            status = path.stat()
            file = File(path.resolve().relative_to(root).as_posix(), status.st_size, status.st_mtime_ns)
            digest = hashlib.sha256(data).hexdigest()
            self.store.put(str(root), file, told_of(data, infotext), digest, parents, owner)
        except Exception as error:  # a job must not fail for the gallery
            log.warning('"%s" is not in the gallery yet: %s', path.name, error)

    def file(self, entry: Entry) -> Path:
        """The picture's file, in the trash if it lies there; raises NotFound for what is gone, or led out of its folder by a link."""
        path = self.trash.place(entry) if entry.deleted is not None else entry.path
        inside = entry.deleted is not None or (
            any(str(root) == entry.root for root in self.roots()) and not entry.led_away
        )
        if not inside or path.is_symlink() or not path.is_file():
            raise NotFound(f'The file of "{entry.path.name}" is not there any more: it was moved or deleted.')
        return path

    # -- the thread --

    def _work(self) -> None:
        be_nice()
        try:
            self.trash.reconcile()
            self.trash.purge(before=time.time() - self._days() * 86400)
        except AtelierError as error:
            log.warning("%s", error.message)
        while not self._closing.is_set():
            self._wake.clear()
            try:
                self._scan()
            except AtelierError as error:
                log.warning("%s", error.message)
            except Exception:
                log.exception("the album goes on after an error")
            self._rest()

    def _rest(self) -> None:
        """Until someone wakes it, or it is time."""
        begun = time.monotonic()
        while not self._wake.wait(5):
            in_use = time.monotonic() - self._used < 5 * EVERY
            if time.monotonic() - begun > (EVERY if in_use else 10 * EVERY):
                return

    def _scan(self) -> None:
        self.scanning = True
        try:
            for root in self.roots():
                if self._closing.is_set():
                    return
                if not root.is_dir():
                    continue  # a disk that is not there just now: what is known of it is kept
                new, changed, gone = differences(self.store.known(str(root)), pictures_below(root))
                if gone:
                    self.store.mark_missing(gone)
                self.store.add_files(str(root), new)
                self.store.change_files(changed)
            self._read()
        finally:
            self.scanning = False

    def _read(self) -> None:
        while not self._closing.is_set() and (entries := self.store.unread(BATCH)):
            self.store.keep_read([(entry, read_told(entry.path)) for entry in entries])
