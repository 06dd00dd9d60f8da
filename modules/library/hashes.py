"""Hashes of model files, kept per path with what tells that the file has not changed; shared by the web and engine processes."""

import contextlib
import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from modules.core.errors import Cancelled, ModelFileError
from modules.library.header import MAX_HEADER, open_regular, read_header
from modules.library.walk import Stamp, stamp_of

CHUNK = 2**22
HEADED = (".safetensors", ".sft")
_LAYOUT = (
    "CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, changed INTEGER, "
    "sha256 TEXT, data_sha256 TEXT, old_hash TEXT)"
)


@dataclass(frozen=True, kw_only=True)
class Hashes:
    """Hex digests of one file, those that were computed.

    `sha256` is of all bytes (Civitai's AutoV2 is its first 10 digits, A1111's short hash), `data_sha256` of what follows the
    header of a safetensors file (AutoV3 is its first 12), `old_hash` A1111's of 2022, 8 digits of the 64 KB behind the first MB (AutoV1).
    """

    sha256: str | None = None
    data_sha256: str | None = None
    old_hash: str | None = None

    @property
    def auto_v2(self) -> str | None:
        """The first ten digits of the sha256."""
        return self.sha256[:10] if self.sha256 else None

    @property
    def auto_v3(self) -> str | None:
        """The first twelve digits of the hash of the data."""
        return self.data_sha256[:12] if self.data_sha256 else None


class HashCache:
    """A small SQLite table beside the other caches; works without one if the folder cannot be written."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "hashes.sqlite3"

    def known(self, path: Path) -> str | None:
        """The sha256 of `path` if it was computed since the file last changed."""
        try:
            return self.hashes(str(path), stamp_of(path.stat())).sha256
        except OSError:
            return None

    def hashes(self, path: str, stamp: Stamp) -> Hashes:
        """What was computed of the file at `path` since it got that stamp."""
        return self._read(" WHERE path = ?", path).get((path, stamp), Hashes())

    def all(self) -> dict[tuple[str, Stamp], Hashes]:
        """Everything that was computed."""
        return self._read("")

    def remember(self, path: Path, sha256: str) -> None:
        """Keep the hash of a file that was computed while it was written."""
        with contextlib.suppress(OSError, sqlite3.Error):
            self._write(str(path), stamp_of(path.stat()), Hashes(sha256=sha256))

    def sha256(self, path: Path) -> str:
        """The sha256 of `path` in hex, computed if need be; raises ModelFileError."""
        return self.known(path) or self._compute(path, _opened(path))

    def begin(self, path: Path) -> Callable[[], str]:
        """Compute in another thread the sha256 of the file that is at `path` now, whatever is put there later.

        What is returned waits for it, and raises what `sha256` would. Raises ModelFileError for a file that cannot be opened.
        """
        known = self.known(path)
        if known:
            return lambda: known
        file = _opened(path)
        return _Later(lambda: self._compute(path, file))

    def complete(self, path: Path, go_on: Callable[[], bool] = lambda: True) -> Hashes:
        """All hashes of `path`, computed in one reading if one is missing. `go_on` is asked between its pieces and may wait.

        Raises Cancelled when that says no, else ModelFileError.
        """
        try:
            found = self.hashes(str(path), stamp_of(path.stat()))
        except OSError as error:
            raise _unreadable(path, error) from error
        if found.sha256 and found.data_sha256:
            return found
        return self._computed(path, _opened(path), lambda file: _all(file, path, go_on))

    def lora_hash(self, path: Path) -> str:
        """As the function `lora_hash`, computed once."""
        if told := _trainers(path):
            return told
        try:
            found = self.hashes(str(path), stamp_of(path.stat())).auto_v3
        except OSError as error:
            raise _unreadable(path, error) from error
        return found or self.complete(path).auto_v3 or ""

    def _compute(self, path: Path, file: BinaryIO) -> str:
        """The sha256 of that open file, which is closed then; raises ModelFileError if it changes meanwhile."""
        return self._computed(path, file, _sha256).sha256 or ""

    def _computed(self, path: Path, file: BinaryIO, compute: Callable[[BinaryIO], Hashes]) -> Hashes:
        try:
            with file:
                before = os.fstat(file.fileno())
                found = compute(file)
                after = os.fstat(file.fileno())
        except OSError as error:
            raise _unreadable(path, error) from error
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ModelFileError(f'"{path.name}" was changed while it was read. Try again when it is whole.')
        self._write(str(path), stamp_of(before), found)
        return found

    def _read(self, where: str, *values: str) -> dict[tuple[str, Stamp], Hashes]:
        query = f"SELECT path, size, mtime, changed, sha256, data_sha256, old_hash FROM hashes{where}"
        try:
            with self._open() as db:
                rows = db.execute(query, values).fetchall()
        except (OSError, sqlite3.Error):
            return {}
        return {
            (path, Stamp(size=size, mtime=mtime, changed=changed)): Hashes(sha256=sha, data_sha256=data, old_hash=old)
            for path, size, mtime, changed, sha, data, old in rows
        }

    def _write(self, path: str, stamp: Stamp, found: Hashes) -> None:
        row = (path, stamp.size, stamp.mtime, stamp.changed, found.sha256, found.data_sha256, found.old_hash)
        try:
            self._keep(row)
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError) or "column" in str(error):  # damaged, or another layout
                with contextlib.suppress(OSError, sqlite3.Error):
                    self._file.unlink()
                    self._keep(row)
        except (OSError, UnicodeError):
            pass  # a cache that cannot be written is no fault

    def _keep(self, row: tuple[object, ...]) -> None:
        names = "path, size, mtime, changed, sha256, data_sha256, old_hash"
        with self._open() as db:
            db.execute(f"INSERT OR REPLACE INTO hashes ({names}) VALUES (?,?,?,?,?,?,?)", row)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._file, timeout=5)
        try:
            with db:
                db.execute(_LAYOUT)
                yield db
        finally:
            db.close()


class _Later:
    """Work in a thread of its own; called, it waits for the result, or raises what the work raised."""

    def __init__(self, work: Callable[[], str]) -> None:
        self._found: Future[str] = Future()
        threading.Thread(target=self._run, args=(work,), name="hash", daemon=True).start()

    def __call__(self) -> str:
        """The sha256 in hex; raises ModelFileError."""
        return self._found.result()

    def _run(self, work: Callable[[], str]) -> None:
        try:
            self._found.set_result(work())
        except Exception as error:  # whoever asks for the result hears of it
            self._found.set_exception(error)


def lora_hash(path: Path) -> str:
    """The 12 hex digits of a LoRA in A1111's `Lora hashes`: its trainer's `sshs_model_hash` where the file holds it, else the
    sha256 of what follows the header of a safetensors file (of other files: of all). Raises ModelFileError.
    """
    if told := _trainers(path):
        return told
    try:
        with _opened(path) as file:
            return (_all(file, path, lambda: True).data_sha256 or "")[:12]
    except OSError as error:
        raise _unreadable(path, error) from error


def _trainers(path: Path) -> str:
    return read_header(path).metadata.get("sshs_model_hash", "")[:12] if path.suffix.lower() in HEADED else ""


def _opened(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _sha256(file: BinaryIO) -> Hashes:
    """As hashlib.file_digest, which Python 3.10 lacks, in pieces large enough that other threads hardly notice."""
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return Hashes(sha256=digest.hexdigest())


def _all(file: BinaryIO, path: Path, go_on: Callable[[], bool]) -> Hashes:
    """Every hash, in one reading."""
    whole, data, old = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    at, header = 0, 0
    while chunk := file.read(CHUNK):
        if not go_on():
            raise Cancelled
        if at == 0 and path.suffix.lower() in HEADED:
            length = int.from_bytes(chunk[:8], "little")
            header = 8 + length if length <= MAX_HEADER else 0
        whole.update(chunk)
        data.update(chunk[max(header - at, 0) :])
        begin, end = max(0x100000 - at, 0), max(0x110000 - at, 0)
        old.update(chunk[begin:end])
        at += len(chunk)
    return Hashes(sha256=whole.hexdigest(), data_sha256=data.hexdigest(), old_hash=old.hexdigest()[:8])


def _unreadable(path: Path, error: OSError) -> ModelFileError:
    return ModelFileError(f'"{path.name}" cannot be read: {error.strerror}. Check the file.')
