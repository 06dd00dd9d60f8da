"""SQLite files as the program keeps its own records in: durable, and one sentence for whatever goes wrong with them."""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modules.core.errors import StorageError

log = logging.getLogger(__name__)


class Database:
    """One file, which one process owns. Safe to use from several threads; a change is on the disk when it returns.

    `what`: what it holds, as sentences begin with it. `private`: only this user may read the file. `renews`: a damaged file is put
    aside as NAME.broken and a new one begun. Raises StorageError, here and in all that follows.
    """

    def __init__(self, path: Path, schema: str, what: str, *, private: bool = False, renews: bool = False) -> None:
        self._lock = threading.RLock()
        self._what = what
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if private:
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = _renewed(path, schema) if renews else _opened(path, schema)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f'{what} "{path}" cannot be opened: {error}. Check the folder, or choose another with --data-dir.'
            ) from error

    def close(self) -> None:
        """Close the file; the database is of no use afterwards."""
        with self._lock:
            self._db.close()

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """The rows that a query finds."""
        with self._lock:
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise StorageError(
                    f"{self._what} cannot be read: {error}. Check the disk of the data folder."
                ) from error

    def write(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Change something in a transaction of its own; the new row's number."""
        with self.change() as db:
            return db.execute(statement, values).lastrowid or 0

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction, undone by whatever is raised inside."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise StorageError(
                    f"{self._what} cannot be written: {error}. Check the disk of the data folder."
                ) from error
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")


def _renewed(path: Path, schema: str) -> sqlite3.Connection:
    try:
        return _opened(path, schema)
    except sqlite3.OperationalError:
        raise  # locked, no right to, no room
    except sqlite3.DatabaseError as error:
        aside = path.with_name(f"{path.name}.broken")
        log.warning("%s cannot be read (%s): it is kept as %s, and a new one begun", path.name, error, aside.name)
        path.replace(aside)
        return _opened(path, schema)


def _opened(path: Path, schema: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA foreign_keys=ON")
        db.executescript(schema)
    except BaseException:
        db.close()
        raise
    return db
