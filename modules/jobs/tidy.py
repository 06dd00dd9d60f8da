"""What is kept for a while only: it goes when its time is over, and before that where there is more of it than may be."""

import contextlib
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from modules.core.errors import AtelierError
from modules.core.paths import Paths
from modules.core.settings import SettingsFile
from modules.jobs.store import JobStore
from modules.jobs.uploads import Uploads
from modules.jobs.writer import delete_files

log = logging.getLogger(__name__)

EVERY = 3600.0
"""Seconds between two looks; the first is at the start."""
HOUR, DAY = 3600, 86_400
GB = 10**9


class Tidy:
    """For the worker's thread alone: it looks between two jobs."""

    def __init__(self, paths: Paths, store: JobStore, settings: SettingsFile) -> None:
        self._paths = paths
        self._store = store
        self._settings = settings
        self._looked: float | None = None

    def look(self) -> None:
        """Delete what is old or too much, once an hour. Raises nothing: what cannot go now goes later."""
        now = time.monotonic()
        if self._looked is not None and now < self._looked + EVERY:
            return
        self._looked = now
        with contextlib.suppress(OSError):
            try:
                self._results()
                Uploads(self._paths.cache / "uploads").prune()
                self._leftovers(time.time())
            except AtelierError as error:
                log.warning("%s", error.message)

    def _results(self) -> None:
        """Pictures that were made without saving, and those that jobs were given."""
        system, now = self._settings.current.system, time.time()
        before, most, held = now - system.results_keep_days * DAY, system.results_keep_gb * GB, 0
        found, gone = self._store.unkept(), []
        waiting = {ticket.id for ticket in self._store.tickets()}
        for image in found:  # newest first
            held += _size(image.path)
            if image.made < before or held > most:
                gone.append(image)
        self._store.forget_images([image.id for image in gone])
        delete_files(image.path for image in gone)
        self._store.forget_given(before)
        known = {image.path for image in found}
        results = self._paths.cache / "results"
        strays = (path for path in results.glob("*/*") if path not in known and path.parent.name not in waiting)
        delete_files([path for path in strays if _age(path, now) > HOUR])  # of a program that was killed

    def _leftovers(self, now: float) -> None:
        """What a killed program was about to write, or to compile."""
        cache = self._paths.cache
        for folder in (self._paths.data, cache, cache / "uploads"):
            delete_files([path for path in folder.glob(".atelier-*.tmp") if _age(path, now) > HOUR])
        for folder in _folders(cache / "openvino"):
            if folder.name.startswith(".") and _age(folder, now) > DAY:
                shutil.rmtree(folder, ignore_errors=True)


def _folders(place: Path) -> Iterator[Path]:
    yield from (path for path in place.iterdir() if path.is_dir()) if place.is_dir() else ()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _age(path: Path, now: float) -> float:
    """Seconds since it was changed; 0 where that cannot be told."""
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0
