"""Pictures that were deleted: their files wait in a folder of the trash until they are brought back or thrown away for good."""

import contextlib
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from modules.core.errors import NotFound
from modules.core.files import rename_new, storage_sentence
from modules.library.album.schema import Entry
from modules.library.album.store import AlbumStore, free_name, given_up

log = logging.getLogger(__name__)


class Trash:
    """The row says first that a picture is deleted, then its file moves: whatever is cut off between is done by `reconcile`."""

    def __init__(self, folder: Path, store: AlbumStore) -> None:
        self._folder = folder
        self._store = store

    def place(self, entry: Entry) -> Path:
        """Where the file of a deleted picture waits."""
        return self._folder / f"{entry.id}{entry.path.suffix.lower()}"

    def delete(self, ids: Sequence[int]) -> list[str]:
        """Move them to the trash; a sentence for each that could not be."""
        troubles = []
        for entry in self._entries(ids):
            id = entry.id
            if entry.deleted is not None:
                continue
            self._mark(id, time.time())
            try:
                if entry.led_away:
                    raise FileNotFoundError
                _move(entry.path, self.place(entry))
            except FileNotFoundError:
                self._forget([id])
            except OSError as error:
                if entry.path.exists() and not isinstance(error, FileExistsError):
                    self.place(entry).unlink(missing_ok=True)
                self._mark(id, None)
                troubles.append(storage_sentence(error, entry.path.parent))
        return troubles

    def restore(self, ids: Sequence[int]) -> list[str]:
        """Bring them back to where they were, under another name where that is taken; a sentence for each that could not be."""
        troubles = []
        for entry in self._entries(ids):
            id = entry.id
            if entry.deleted is None:
                continue
            if entry.led_away:
                troubles.append(f'The folder of "{entry.path.name}" is a link to another place now. Put it back first.')
                continue
            stem, number = entry.path.stem.removesuffix(given_up(id)), 0
            path = wanted = entry.path.with_name(f"{stem}{entry.path.suffix}")
            try:
                while path.exists():
                    number += 1
                    path = wanted.with_name(f"{stem}-{number}{wanted.suffix}")
                _move(self.place(entry), path)
            except FileNotFoundError:
                self._forget([id])
                troubles.append(f'The file of "{entry.path.name}" is not in the trash any more.')
                continue
            except OSError as error:
                troubles.append(storage_sentence(error, path.parent))
                continue
            name = path.relative_to(entry.root).as_posix()
            with self._store.change() as db:
                free_name(db, entry.root, name, but=id)
                db.execute("DELETE FROM pictures WHERE root = ? AND name = ? AND id <> ?", (entry.root, name, id))
                db.execute("UPDATE pictures SET deleted = NULL, missing = 0, name = ? WHERE id = ?", (name, id))
        return troubles

    def purge(self, before: float | None = None, ids: Sequence[int] | None = None) -> None:
        """Throw away for good: these, or what was deleted before that time."""
        entries, wanted = self._store.entries("WHERE deleted IS NOT NULL"), None if ids is None else set(ids)
        gone = []
        for entry in entries:
            if (wanted is None or entry.id in wanted) and (before is None or (entry.deleted or 0) < before):
                with contextlib.suppress(OSError):  # one that cannot be removed just now stays in the trash
                    self.place(entry).unlink(missing_ok=True)
                    gone.append(entry.id)
        self._forget(gone)

    def reconcile(self) -> None:
        """Finish what was cut off when the program was killed between a row and its file."""
        for entry in self._store.entries("WHERE deleted IS NOT NULL"):
            waiting, there = self.place(entry).exists(), entry.path.exists() and not entry.led_away
            if waiting and there and entry.path.samefile(self.place(entry)):
                entry.path.unlink()
            elif waiting:
                continue
            elif there:
                with contextlib.suppress(OSError):
                    _move(entry.path, self.place(entry))
            else:
                self._forget([entry.id])

    def _entries(self, ids: Sequence[int]) -> Iterator[Entry]:
        """Those that there still are: another window may have thrown some away."""
        for id in ids:
            with contextlib.suppress(NotFound):
                yield self._store.entry(id)

    def _mark(self, id: int, when: float | None) -> None:
        with self._store.change() as db:
            db.execute("UPDATE pictures SET deleted = ? WHERE id = ?", (when, id))

    def _forget(self, ids: Sequence[int]) -> None:
        with self._store.change() as db:
            db.executemany("DELETE FROM words WHERE rowid = ?", [(id,) for id in ids])
            db.executemany("DELETE FROM pictures WHERE id = ?", [(id,) for id in ids])


def _move(source: Path, target: Path) -> None:
    """To another disk too; never over a file that is there. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        rename_new(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        if target.exists():
            raise
        part = target.with_name(f"{target.name}.part")
        shutil.copy2(source, part)
        part.replace(target)
        source.unlink()
