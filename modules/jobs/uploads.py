"""Pictures that a page sends before the job that begins with them: files named by their hash, kept for a while."""

import contextlib
import re
import time
from pathlib import Path

from modules.core.errors import InputError, StorageError, short
from modules.core.files import write_atomic
from modules.images.reading import take_picture
from modules.requests.pictures import Picture

KEPT = 2 * 86_400  # seconds; jobs keep their pictures themselves
_NAME = re.compile("[0-9a-f]{64}")


class Uploads:
    """A folder of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, data: bytes, field: str = "picture") -> Picture:
        """Keep a file; raises InputError unless it is a picture, StorageError when it cannot be written."""
        picture = take_picture(field, data)
        self._prune(time.time() - KEPT)
        write_atomic(self._folder / picture.sha256, data)
        return picture

    def find(self, name: object, field: str = "picture") -> Picture:
        """The picture of that hash; raises InputError when there is none (any more)."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError(field, f"{field} {short(name)} is no picture's hash. Choose the picture again.")
        try:
            return Picture(sha256=name, data=(self._folder / name).read_bytes())
        except FileNotFoundError as error:
            raise InputError(field, f"{field} is no longer kept here. Press Generate again to send it anew.") from error
        except OSError as error:
            raise StorageError(f"{field} cannot be read: {error.strerror}. Check the cache folder.") from error

    def _prune(self, before: float) -> None:
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                with contextlib.suppress(OSError):
                    if path.stat().st_mtime < before:
                        path.unlink()
