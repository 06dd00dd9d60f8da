"""Pictures that a page sends before the job that begins with them: files named by their hash, kept for a while."""

import contextlib
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from modules.core.errors import InputError, StorageError, TooMuchUploaded, short
from modules.core.files import write_atomic
from modules.core.policy import HOME, MB
from modules.images.reading import take_picture
from modules.requests.pictures import Picture

KEPT = 2 * 86_400  # seconds; jobs keep their pictures themselves
USED = 3600
"""Seconds within which a page may still begin a job with what it has sent."""
OWNERS = 20
"""As many of one picture are told apart; what more of them have sent stays as long as it may."""
Owner = tuple[str, str]  # a user, and what their page calls itself
_NAME = re.compile("[0-9a-f]{64}")


class Quota:
    """How many bytes each user may send in an hour, which USED is; counted by the program that runs. Safe to use from several threads."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._sent: dict[str, deque[tuple[float, int]]] = {}

    @contextlib.contextmanager
    def taken(self, user: str, size: int) -> Iterator[None]:
        """Count so many bytes, unless what is done meanwhile fails; raises TooMuchUploaded."""
        entry = (time.monotonic(), size)
        with self._lock:
            sent = self._sent.setdefault(user, deque())
            while sent and sent[0][0] < entry[0] - USED:
                sent.popleft()
            held = sum(bytes_of for _, bytes_of in sent)
            if held + size > self._room:
                raise TooMuchUploaded(
                    f"You uploaded {held / MB:.0f} MB of pictures in the last hour, of at most {self._room / MB:.0f} MB. Try again later."
                )
            sent.append(entry)
        try:
            yield
        except BaseException:
            with self._lock, contextlib.suppress(ValueError):
                sent.remove(entry)
            raise


class Uploads:
    """A folder of them. Safe to use from several threads."""

    def __init__(self, folder: Path, room: int = HOME.uploads) -> None:
        self._folder = folder
        self._room = room
        self._lock = threading.Lock()
        self._owners: dict[str, set[Owner | None]] = {}

    def keep(self, data: bytes, field: str = "picture", owner: Owner | None = None) -> Picture:
        """Keep a file, for that owner or whoever knows its hash; raises InputError unless it is a picture, StorageError when it cannot be
        written, TooMuchUploaded."""
        picture = take_picture(field, data)
        self._make_room(len(data))
        with self._lock:
            known = picture.sha256 in self._owners
            owners = self._owners.setdefault(picture.sha256, set())
            if not known and (self._folder / picture.sha256).exists():  # from an earlier run of the program
                owners.add(None)
            owners.add(owner if len(owners) < OWNERS else None)
        write_atomic(self._folder / picture.sha256, data, point="upload")
        return picture

    def prune(self) -> None:
        """Delete what no page can be about to use any more."""
        for made, _, path in self._files():
            if time.time() - made > KEPT:
                with self._lock:
                    self._delete(path.name)

    def leave(self, owner: Owner) -> None:
        """Delete what that owner alone has sent."""
        with self._lock:
            for name, owners in [*self._owners.items()]:
                if owner in owners:
                    owners.discard(owner)
                    if not owners:
                        self._delete(name)

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

    def _make_room(self, size: int) -> None:
        """Delete what is old; and where that is not enough for so many bytes more, the oldest that no page can be about to use."""
        now, held = time.time(), 0
        for made, bytes_of, path in sorted(self._files(), reverse=True):
            age = now - made
            if age > KEPT or (held + bytes_of + size > self._room and age > USED):
                with self._lock:
                    self._delete(path.name)
            else:
                held += bytes_of
        if held + size > self._room:
            raise TooMuchUploaded(
                f"{held / MB:.0f} MB of pictures were uploaded in the last hour, of at most {self._room / MB:.0f} MB. Try again later."
            )

    def _delete(self, name: str) -> None:
        self._owners.pop(name, None)
        with contextlib.suppress(OSError):
            (self._folder / name).unlink()

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            with contextlib.suppress(OSError):
                status = path.stat()
                yield status.st_mtime, status.st_size, path
