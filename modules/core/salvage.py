"""SQLite files that are damaged: put aside, and what can still be read of them is taken over into a new one.

SQLite's own `.recover` belongs to its shell, which Python does not have.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from modules.core.repairs import tell

CHECKED = 2**28
"""Bytes of a file that is looked through at each start; a larger one only where it was marked: that takes seconds."""
ENDS = ("-wal", "-shm")


def sound(path: Path, connect: Callable[[Path], sqlite3.Connection], what: str, after: str = "") -> sqlite3.Connection:
    """What `connect` gives for that file; for one that is damaged, for a new one with the old one's rows.

    `what`: what it holds, as sentences begin. The old one is kept as NAME.damaged-SECONDS. `after`: a statement for the new one.
    Raises OSError and sqlite3.Error.
    """
    try:
        return _checked(path, connect)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        aside = _put_aside(path)
        db = connect(path)
        kept = _take_over(aside, db)
        db.execute(after)
        tell(
            path,
            f'{what} was damaged ({error}) and is kept as "{aside.name}": a new one was begun, with {kept} entries that could be read.',
        )
        return db


def is_damage(error: sqlite3.Error) -> bool:
    """Whether that tells of the file's content, and not of a lock, a right, a full disk or a statement."""
    return type(error) is sqlite3.DatabaseError


def mark(path: Path) -> None:
    """Have the file looked through at the next start, however large it is."""
    with contextlib.suppress(OSError):
        _marker(path).touch()


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.check")


def _checked(path: Path, connect: Callable[[Path], sqlite3.Connection]) -> sqlite3.Connection:
    db = connect(path)
    try:
        if path.stat().st_size <= CHECKED or _marker(path).exists():
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        _marker(path).unlink(missing_ok=True)
    except BaseException:
        db.close()
        raise
    return db


def _put_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
    path.replace(aside)
    for end in ENDS:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + end).replace(aside.with_name(aside.name + end))
    _marker(path).unlink(missing_ok=True)
    return aside


def _take_over(aside: Path, db: sqlite3.Connection) -> int:
    """Copy every row that can be read and fits, parents before children; how many."""
    count = 0
    with contextlib.closing(sqlite3.connect(aside, isolation_level=None)) as old:
        old.text_factory = lambda data: data.decode(errors="replace")
        db.execute("BEGIN IMMEDIATE")
        _add_tables(old, db)
        for table in _tables(db):
            with contextlib.suppress(sqlite3.Error):  # a table that the old file does not have, or whose place is lost
                count += _copy(old, db, table)
        db.execute("COMMIT")
    return count


def _add_tables(old: sqlite3.Connection, db: sqlite3.Connection) -> None:
    """Those of the old file that the new one does not have (yet): others keep theirs in it too."""
    known = {name for (name,) in map(tuple, db.execute("SELECT name FROM sqlite_master"))}
    with contextlib.suppress(sqlite3.Error):
        for name, made in old.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall():
            if name not in known and made.startswith("CREATE TABLE"):
                db.execute(made)


def _tables(db: sqlite3.Connection) -> Iterator[str]:
    rows = db.execute("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'").fetchall()
    names = [name for (name,) in map(tuple, rows) if not name.startswith("sqlite_")]
    parents = {name: {row[2] for row in db.execute(f'PRAGMA foreign_key_list("{name}")')} for name in names}
    try:
        return iter(list(TopologicalSorter(parents).static_order()))
    except CycleError:
        return iter(names)


def _copy(old: sqlite3.Connection, db: sqlite3.Connection, table: str) -> int:
    mine = [(row[1], row[5]) for row in db.execute(f'PRAGMA table_info("{table}")')]
    theirs = {row[1] for row in old.execute(f'PRAGMA table_info("{table}")')}
    columns = ", ".join(f'"{name}"' for name, _ in mine if name in theirs)
    put = f'INSERT OR IGNORE INTO "{table}" ({columns}) VALUES ({", ".join("?" * (columns.count(",") + 1))})'
    (bare,) = db.execute("SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?", (table,)).fetchone()
    keys = [f'"{name}"' for name, place in sorted(mine, key=lambda column: column[1]) if place] if bare else ["rowid"]
    count = 0
    for way in ("ASC", "DESC"):  # from both ends up to what cannot be read
        order = ", ".join(f"{key} {way}" for key in keys)
        with contextlib.suppress(sqlite3.DatabaseError):
            for row in old.execute(f'SELECT {columns} FROM "{table}" NOT INDEXED ORDER BY {order}'):
                with contextlib.suppress(sqlite3.IntegrityError):  # its parent is lost
                    count += db.execute(put, row).rowcount
    return count
