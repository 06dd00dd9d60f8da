"""A file that is on its way: NAME.part holds what came, NAME.part.json says of what."""

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from io import FileIO
from pathlib import Path

from modules.core.errors import StorageError
from modules.core.faults import fault
from modules.core.files import rename_new, storage_sentence, write_atomic
from modules.library.downloads.names import PART

CHUNK = 2**20
ROOM = 2**16


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What is safe on disk: the first `received` bytes of what `url` gave when its version was `validator` (a strong ETag, or
    the time of change; "" if the site gives none)."""

    url: str
    validator: str = ""
    received: int = 0


class Part:
    """The part of one target file. Raises StorageError where the disk fails; what was marked stays usable then."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + PART)
        self._note = target.with_name(f"{target.name}{PART}.json")
        self._mark = Mark(url="")
        self._file: FileIO | None = None
        self.digest = hashlib.sha256()
        self.received = 0

    def mark(self, url: str) -> Mark:
        """What is there of that address; a mark at 0 if nothing can be used."""
        try:
            found = Mark(**json.loads(self._note.read_text("utf-8")))
            size = self.path.stat().st_size
            if found.url == url and isinstance(found.validator, str) and 0 < found.received <= size:
                return found
        except (OSError, ValueError, TypeError, RecursionError):
            pass
        return Mark(url=url)

    def settled(self, url: str) -> bool:
        """Whether all of that address has its name already: the program ended before the note of it could go, which goes now."""
        try:
            found = Mark(**json.loads(self._note.read_text("utf-8")))
            whole = found.url == url and not self.path.exists() and self.target.stat().st_size == found.received > 0
            if whole:
                self._note.unlink()
            return whole
        except (OSError, ValueError, TypeError, RecursionError):
            return False

    def open(self, mark: Mark) -> None:
        """Go on behind the mark: what lies beyond it was not safe on disk, and is cut off. The digest covers what stays."""
        self.close()
        self._mark, self.received, self.digest = mark, 0, hashlib.sha256()
        with self._storage():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("r+b" if mark.received else "wb", buffering=0)
            while self.received < mark.received:
                piece = self._file.read(min(CHUNK, mark.received - self.received))
                if not piece:
                    raise OSError(0, "the part is shorter than it was")
                self.digest.update(piece)
                self.received += len(piece)
            self._file.truncate(mark.received)
        self.sync()

    def write(self, piece: bytes) -> None:
        """Add what came."""
        assert self._file is not None
        with self._storage():
            fault("download.write")
            rest = memoryview(piece)
            while rest:
                try:
                    count = self._file.write(rest)
                except OSError:
                    self._give_room()
                    raise
                self.digest.update(rest[:count])
                self.received += count
                rest = rest[count:]

    def sync(self) -> None:
        """Make safe what came so far, and mark it."""
        if self._file is None:
            return
        with self._storage():
            os.fsync(self._file.fileno())
        self._mark = replace(self._mark, received=self.received)
        write_atomic(self._note, json.dumps(asdict(self._mark)).encode())

    def _give_room(self) -> None:
        """On a full disk: cut off a little, so that the note of what is there can be written."""
        assert self._file is not None
        self.received = max(self.received - ROOM, 0)
        with contextlib.suppress(OSError):
            self._file.truncate(self.received)

    def close(self) -> None:
        """Let the file go, as it is."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def finish(self, target: Path) -> None:
        """Give the part its name; raises FileExistsError if that is taken. The part must be synced."""
        self.close()
        with self._storage(passing=FileExistsError):
            fault("download.rename")
            rename_new(self.path, target)
            fault("download.renamed")
        with contextlib.suppress(OSError):
            self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what came."""
        self.close()
        for path in (self._note, self.path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _storage(self, passing: tuple[type[OSError], ...] | type[OSError] = ()):
        try:
            yield
        except passing:
            raise
        except OSError as error:
            raise StorageError(storage_sentence(error, self.path.parent)) from error


def check_space(folder: Path, needed: int, reserve: int) -> None:
    """Raise StorageError unless `needed` bytes fit on the disk of `folder` and `reserve` stay free."""
    existing = next((place for place in (folder, *folder.parents) if place.is_dir()), folder)
    try:
        free = shutil.disk_usage(existing).free
    except OSError as error:
        raise StorageError(storage_sentence(error, folder)) from error
    if needed + reserve > free:
        spare = f" and {gigabytes(reserve)} to spare" if reserve else ""
        raise StorageError(
            f'The disk that holds "{folder}" has {gigabytes(free)} free; the download needs {gigabytes(needed)} more{spare}. '
            "Free some space and retry."
        )


def gigabytes(count: int) -> str:
    """A number of bytes as the page tells it."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
