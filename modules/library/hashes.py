"""sha256 of model files, kept per path, size and time of change; shared by the web and engine processes."""

import contextlib
import hashlib
import sqlite3
from pathlib import Path

from modules.core.errors import ModelFileError
from modules.library.header import read_header


class HashCache:
    """A small SQLite table beside the other caches; works without one if the folder cannot be written."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "hashes.sqlite3"

    def known(self, path: Path) -> str | None:
        """The sha256 of `path` if it was computed since the file last changed."""
        try:
            status = path.stat()
            with self._open() as db:
                row = db.execute(
                    "SELECT sha256 FROM hashes WHERE path=? AND size=? AND mtime=?",
                    (str(path), status.st_size, status.st_mtime_ns),
                ).fetchone()
        except (OSError, sqlite3.Error):
            return None
        return row[0] if row else None

    def sha256(self, path: Path) -> str:
        """The sha256 of `path` in hex, computed if need be; raises ModelFileError."""
        found = self.known(path)
        if found:
            return found
        try:
            status = path.stat()
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else _digest(file)
        except OSError as error:
            raise ModelFileError(f'"{path.name}" cannot be read: {error.strerror}. Check the file.') from error
        found = digest.hexdigest()
        row = (str(path), status.st_size, status.st_mtime_ns, found)
        try:
            self._keep(row)
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError) or "column" in str(error):  # damaged, or another layout
                with contextlib.suppress(OSError, sqlite3.Error):
                    self._file.unlink()
                    self._keep(row)
        except OSError:
            pass  # a cache that cannot be written is no fault
        return found

    def _keep(self, row: tuple[str, int, int, str]) -> None:
        with self._open() as db:
            db.execute("INSERT OR REPLACE INTO hashes VALUES (?,?,?,?)", row)

    @contextlib.contextmanager
    def _open(self):
        self._file.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._file, timeout=5)
        try:
            with db:
                db.execute(
                    "CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, sha256 TEXT)"
                )
                yield db
        finally:
            db.close()


def _digest(file):
    """hashlib.file_digest for Python 3.10."""
    digest = hashlib.sha256()
    while chunk := file.read(2**20):
        digest.update(chunk)
    return digest


def lora_hash(path: Path) -> str:
    """The 12 hex digits of a LoRA in A1111's `Lora hashes`: its trainer's `sshs_model_hash` where the file holds it, else the
    sha256 of what follows the header of a safetensors file (of other files: of all). Raises ModelFileError.
    """
    headed = path.suffix.lower() == ".safetensors"
    if headed and (told := read_header(path).metadata.get("sshs_model_hash")):
        return told[:12]
    try:
        with path.open("rb") as file:
            if headed:
                file.seek(8 + int.from_bytes(file.read(8), "little"))
            return _digest(file).hexdigest()[:12]
    except OSError as error:
        raise ModelFileError(f'"{path.name}" cannot be read: {error.strerror}. Check the file.') from error
