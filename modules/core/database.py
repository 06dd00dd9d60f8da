"""SQLite files as the program keeps its own records in: durable, and one sentence for whatever goes wrong with them."""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modules.core.errors import StorageError
from modules.core.faults import fault
from modules.core.salvage import is_damage, mark, sound


class Database:
    """One file, which one process owns. Safe to use from several threads; a change is on the disk when it returns, and reading
    never waits for one: it finds what was there before.

    `what`: what it holds, as sentences begin with it. `private`: only this user may read the file. `mends`: a damaged file is put
    aside and a new one begun with what can be read of it. Raises StorageError, here and in all that follows.
    """

    def __init__(self, path: Path, schema: str, what: str, *, private: bool = False, mends: bool = True) -> None:
        self._lock = threading.RLock()
        self._reading = threading.Lock()
        self._changing: int | None = None  # the thread that is in a change, and reads what it wrote
        self.version = 0
        """How many changes were made: what was read since the last one is still so."""
        self._what = what
        self._path = path

        def connect(path: Path) -> sqlite3.Connection:
            if private:
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            return _opened(path, schema)

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sound(path, connect, what) if mends else connect(path)
            self._reader = _connected(path)
            self._reader.execute("PRAGMA query_only=ON")
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f'{what} "{path}" cannot be opened: {error}. Check the folder, or choose another with --data-dir.'
            ) from error

    def close(self) -> None:
        """Close the file; the database is of no use afterwards."""
        with self._lock, self._reading:
            self._reader.close()
            self._db.close()

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """The rows that a query finds."""
        own = self._changing == threading.get_ident()
        with self._lock if own else self._reading:
            try:
                return (self._db if own else self._reader).execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise self._trouble("read", error) from error

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
                self._changing = threading.get_ident()
                yield self._db
                fault("database.commit")
                self._db.execute("COMMIT")
                self.version += 1
                fault("database.committed")
            except (sqlite3.Error, OSError) as error:
                raise self._trouble("written", error) from error
            finally:
                self._changing = None
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _trouble(self, done: str, error: sqlite3.Error | OSError) -> StorageError:
        if isinstance(error, sqlite3.Error) and is_damage(error):
            mark(self._path)
            return StorageError(
                f"{self._what} cannot be {done}: {error}. Restart the program, which takes over what can be read."
            )
        return StorageError(f"{self._what} cannot be {done}: {error}. Check the disk of the data folder.")


def _opened(path: Path, schema: str) -> sqlite3.Connection:
    db = _connected(path)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA foreign_keys=ON")
        db.executescript(schema)
    except BaseException:
        db.close()
        raise
    return db


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    db.row_factory = sqlite3.Row
    return db
