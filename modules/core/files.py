"""Files that are there whole or not at all, whatever kills the process."""

import contextlib
import errno
import os
import uuid
from pathlib import Path

from modules.core.errors import StorageError


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`: temporary file beside it, fsync, rename, fsync of the folder.

    Raises StorageError with the reason and the folder; nothing is left behind then.
    """
    temporary = path.with_name(f".atelier-{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(storage_sentence(error, path.parent)) from error


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable (POSIX; Windows has no such call)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_sentence(error: OSError, folder: Path) -> str:
    """What went wrong with `folder`, and what to do."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f'The folder "{folder}" cannot be written. Give this user the right to write there, or choose another with --data-dir.'
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f'The disk that holds "{folder}" is full. Free some space and try again.'
    return f'Writing into "{folder}" failed: {error.strerror or error}. Check the disk, or choose another folder with --data-dir.'


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left under `folder`."""
    if not folder.is_dir():
        return
    for path in folder.rglob(".atelier-*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()
