"""Jobs that wait because a picture of the one before found no room on its disk."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

from modules.core.disk import has_room
from modules.core.errors import DiskFull
from modules.core.policy import MB

log = logging.getLogger(__name__)

ROOM = 64 * MB
"""Bytes that are free again before jobs go on by themselves: some pictures, so that they do not stop with each one."""
EVERY = 2.0  # seconds

SENTENCE = (
    "A disk is full and a picture could not be saved: no further job begins. "
    'They go on by themselves once there is room; press "Go on" in the tab Queue not to wait for that.'
)


class FullDisks:
    """Users whose jobs are not begun for that reason. Safe to use from any thread."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._lock = threading.Lock()
        self._folders: dict[str, Path] = {}
        self._looked = 0.0

    def note(self, user: str, error: Exception) -> None:
        """A picture of that user could not be saved. Nothing happens unless there is no room, now too."""
        if not isinstance(error, DiskFull) or has_room(error.folder, ROOM):
            return
        with self._lock:
            self._folders[user] = error.folder
        log.warning("%s No further job of %s begins.", error.message, user or "the page")
        self._ring()

    def users(self) -> frozenset[str]:
        """Those whose jobs wait now."""
        with self._lock:
            return frozenset(self._folders)

    def look(self) -> None:
        """Let those go on whose disk has room again; a look every few seconds is enough."""
        now = time.monotonic()
        if not self._folders or now < self._looked + EVERY:
            return
        self._looked = now
        for user, folder in [*self._folders.items()]:
            if has_room(folder, ROOM):
                self.go_on(user)

    def go_on(self, user: str) -> None:
        """Begin that user's jobs again, whether there is room or not."""
        with self._lock:
            found = self._folders.pop(user, None)
        if found:
            self._ring()

    def check(self, user: str) -> None:
        """Raise DiskFull while that user's jobs wait and there is no room."""
        folder = self._folders.get(user)
        if folder and not has_room(folder, ROOM):
            raise DiskFull(SENTENCE, folder)
        self.go_on(user)

    def told(self, users: Collection[str]) -> str | None:
        """What to say to someone of these names."""
        return SENTENCE if self.users().intersection(users) else None
