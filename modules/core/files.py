"""Files that are there whole or not at all, whatever kills the process."""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from modules.core.errors import DiskFull, StorageError
from modules.core.faults import fault

_BINARY = getattr(os, "O_BINARY", 0)  # Windows


def write_atomic(path: Path, data: bytes, *, private: bool = False, point: str = "file") -> None:
    """Write `data` to `path`: temporary file beside it, fsync, rename, fsync of the folder.

    `private`: nobody but this user may read it. `point`: what its fault points are named after.
    Raises StorageError (DiskFull for want of room) with the reason and the folder; nothing is left behind then.
    """
    with _written(path, data, 0o600 if private else 0o666, point) as temporary:
        temporary.replace(path)
        fault(f"{point}.renamed")
        sync_folder(path.parent)


def write_new(path: Path, data: bytes, *, point: str = "file") -> bool:
    """As `write_atomic`, but False where `path` is there already: of several that come at once, one gets it."""
    with _written(path, data, 0o666, point) as temporary:
        try:
            rename_new(temporary, path)
        except FileExistsError:
            temporary.unlink()
            return False
        fault(f"{point}.renamed")
    return True


@contextlib.contextmanager
def _written(path: Path, data: bytes, mode: int, point: str) -> Iterator[Path]:
    """The data, safe in a temporary file beside `path`, which goes when OSError is raised; StorageError is, then."""
    temporary = path.with_name(f".atelier-{uuid.uuid4().hex}.tmp")
    whole, half = memoryview(data), len(data) // 2
    try:
        fault(f"{point}.open")
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(whole[:half])
            fault(f"{point}.write")
            file.write(whole[half:])
            file.flush()
            fault(f"{point}.sync")
            os.fsync(file.fileno())
        fault(f"{point}.rename")
        yield temporary
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        sentence = storage_sentence(error, path.parent)
        raise (DiskFull(sentence, path.parent) if is_full(error) else StorageError(sentence)) from error


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable (POSIX; Windows has no such call)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_new(source: Path, target: Path) -> None:
    """Give a file its name, durably, unless that is taken: raises FileExistsError then, and OSError."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(errno.EEXIST, "File exists", str(target)) from None
        source.rename(target)
    else:
        source.unlink()
    sync_folder(target.parent)


def storage_sentence(error: OSError, folder: Path) -> str:
    """What went wrong with `folder`, and what to do."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f'The folder "{folder}" cannot be written. Give this user the right to write there, or choose another with --data-dir.'
    if is_full(error):
        return f'The disk that holds "{folder}" is full. Free some space and try again.'
    return f'Writing into "{folder}" failed: {error.strerror or error}. Check the disk, or choose another folder with --data-dir.'


def is_full(error: OSError) -> bool:
    """Whether a disk, or what a user may have of it, was full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left under `folder`."""
    if not folder.is_dir():
        return
    for path in folder.rglob(".atelier-*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()
