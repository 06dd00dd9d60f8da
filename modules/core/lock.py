"""One server a data folder."""

import os
from pathlib import Path
from typing import IO

from modules.core.errors import AtelierError, StorageError
from modules.core.files import storage_sentence


def hold_lock(path: Path) -> IO[bytes]:
    """Lock `path` until the returned file is closed or the process ends, however it ends.

    Raises AtelierError if another process holds it, StorageError if the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")  # noqa: SIM115  # stays open: the lock lives as long as the file
    except OSError as error:
        raise StorageError(storage_sentence(error, path.parent)) from error
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # Windows only
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        message = f'Another Atelier already works on "{path.parent}". Use that one, stop it, or choose another folder with --data-dir.'
        raise AtelierError(message) from error
    return file
