"""The work of one download: every file of its plan, tried again where that may help, then all of it in its place."""

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modules.core.errors import RemoteError, StorageError
from modules.core.files import storage_sentence, sync_folder
from modules.library.downloads.civitai import Civitai
from modules.library.downloads.fetch import Fetch
from modules.library.downloads.live import Live
from modules.library.downloads.names import PART, numbered
from modules.library.downloads.part import Part, check_space
from modules.library.downloads.plan import Plan, RemoteFile
from modules.library.downloads.sites import Sites
from modules.library.hashes import HashCache

TRIES = 8
MAX_WAIT = 60.0


@dataclass(frozen=True, kw_only=True)
class Worker:
    """`retry_wait`: seconds before the second try, doubled for each further one. `reserve`: bytes that stay free."""

    sites: Sites
    hashes: HashCache
    reserve: int
    retry_wait: float

    def run(self, plan: Plan, folder: Path, live: Live) -> tuple[Path, str]:
        """Fetch all of `plan` into `folder`; where it lies in the end, and what the user should know (or "").

        Raises Stopped, RemoteError, ModelFileError, StorageError; no file has its final name then.
        """
        if not plan.folder and Part(folder / plan.name).settled(plan.files[0].url):
            return folder / plan.name, ""
        if plan.size is not None:
            check_space(folder, max(plan.size - received_of(plan, folder), 0), self.reserve)
        target = self._folder(plan, folder, live) if plan.folder else self._single(plan, folder, live)
        beside = Civitai(self.sites).keep_beside(plan.version, target) if plan.version is not None else None
        renamed = f'"{plan.name}" was taken: it is called "{target.name}".' if target.name != plan.name else ""
        return target, " ".join(filter(None, (renamed, beside)))

    def _single(self, plan: Plan, folder: Path, live: Live) -> Path:
        part = Part(folder / plan.name)
        digest = self._fetched(plan, plan.files[0], part, live)
        target = _named(part.finish, folder / plan.name)
        self.hashes.remember(target, digest)
        return target

    def _folder(self, plan: Plan, folder: Path, live: Live) -> Path:
        staging = staging_of(folder, plan.name)
        for file in plan.files:
            path = staging / file.path
            if path.is_file():  # whole, from an earlier run: only whole files have their names
                live.file_done(path.stat().st_size)
                continue
            self._fetched(plan, file, part := Part(path), live)
            part.finish(path)
            live.file_done(path.stat().st_size)

        def finish(target: Path) -> None:
            if os.path.lexists(target):
                raise FileExistsError(str(target))
            staging.rename(target)
            sync_folder(folder)

        try:
            return _named(finish, folder / plan.name)
        except FileExistsError:
            raise
        except OSError as error:
            raise StorageError(storage_sentence(error, folder)) from error

    def _fetched(self, plan: Plan, file: RemoteFile, part: Part, live: Live) -> str:
        """Try, and while tries bring something or may yet, try again."""
        tries = 0
        while True:
            before = live.received
            live.check()
            token = self.sites.token(plan.site)
            fetch = Fetch(
                transport=self.sites.transport, token=token, site=plan.site, watcher=live, reserve=self.reserve
            )
            try:
                return fetch.file(file, part)
            except RemoteError as error:
                live.check()  # a connection that was cut on purpose is no trouble
                tries = 1 if live.received > before else tries + 1
                if not error.temporary or tries >= TRIES:
                    raise
                pause = min(self.retry_wait * 2 ** (tries - 1), MAX_WAIT)
                live.trouble = f"{error.message} It is tried again."
                live.wait(error.wait if error.wait is not None else pause)


def _named(finish: Callable[[Path], None], target: Path) -> Path:
    """`finish` with the first name that is free: the target's, else one with a number."""
    for number in range(1, 1000):
        found = target if number == 1 else target.with_name(numbered(target.name, number))
        try:
            finish(found)
        except FileExistsError:
            continue
        return found
    raise StorageError(f'"{target.parent}" has a thousand files named like "{target.name}". Tidy it up, then retry.')


def staging_of(folder: Path, name: str) -> Path:
    """Where a model folder grows: hidden, so that nothing that lists models looks into it."""
    return folder / f".{name}{PART}"


def discard(plan: Plan, folder: Path) -> None:
    """Remove what came of a download that is not wanted any more."""
    if plan.folder:
        with contextlib.suppress(OSError):
            shutil.rmtree(staging_of(folder, plan.name))
    else:
        Part(folder / plan.name).discard()


def received_of(plan: Plan, folder: Path) -> int:
    """Bytes that earlier runs left of it."""
    root = staging_of(folder, plan.name) if plan.folder else folder
    names = [file.path for file in plan.files] if plan.folder else [plan.name]
    count = 0
    for name in names:
        for path in (root / name, root / f"{name}{PART}") if plan.folder else (root / f"{name}{PART}",):
            with contextlib.suppress(OSError):
                count += path.stat().st_size
    return count
