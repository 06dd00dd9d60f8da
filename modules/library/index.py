"""The index of all model files: one SQLite file beside the other caches, for all processes. It can always be made again."""

import contextlib
import json
import logging
import re
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from modules.core.paths import CHECKPOINT
from modules.library.descriptions import Description
from modules.library.rows import NAMES, SCHEMA, VERSION, Row, keep_row, plain, read_row, row_of, synchronised
from modules.library.walk import Seen, walk

log = logging.getLogger(__name__)

FILE = "library.sqlite3"
BATCH = 50
Found = TypeVar("Found")


class Index:
    """Reads and writes the index; may be used from any thread. A folder that cannot be written, or a damaged file that cannot be
    made again, only costs that it is forgotten at the end. Nothing here raises."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._last: dict[tuple[str, str], tuple[tuple[int, int], dict[str, Seen], dict[str, Row]]] = {}

    def close(self) -> None:
        """Let go of the file; it is opened again when needed."""
        with self._lock:
            if self._db:
                self._db.close()
                self._db = None
                self._last.clear()

    def refresh(self, kind: str, root: Path, suffixes: Sequence[str]) -> dict[str, Row]:
        """Look what is below `root` now; name -> row. What is new or has changed is not read yet."""
        seen = {found.name: found for found in walk(root, suffixes) if kind == CHECKPOINT or not found.is_folder}
        if not seen and not root.is_dir():  # a disk that is not there just now: what is known of it is kept
            return {}
        return self._do(lambda db: self._rows(db, kind, str(root), seen))

    def read_some(self, count: int = BATCH, ids: Iterable[int] | None = None) -> int:
        """Read the headers and descriptions of that many unread files, or of those with these ids; how many were read."""
        chosen = "" if ids is None else f" AND id IN ({','.join(str(int(i)) for i in ids)})"
        query = f"SELECT {NAMES}, sidecars FROM files WHERE read = 0{chosen} ORDER BY id LIMIT ?"
        rows = self._do(lambda db: db.execute(query, (count,)).fetchall())
        read = [(row_of(row), read_row(row_of(row), json.loads(row["sidecars"]))) for row in rows]
        if read:
            self._do(lambda db: [keep_row(db, row, values) for row, values in read])
        return len(read)

    def keep_only(self, roots: Collection[str]) -> None:
        """Forget what lies below other roots: folders that earlier flags named."""

        def forget(db: sqlite3.Connection) -> None:
            for (root,) in db.execute("SELECT DISTINCT root FROM files").fetchall():
                if root not in roots:
                    db.execute("DELETE FROM search WHERE rowid IN (SELECT id FROM files WHERE root = ?)", (root,))
                    db.execute("DELETE FROM files WHERE root = ?", (root,))

        self._do(forget)

    def row(self, id: int) -> Row | None:
        """The file of that id."""
        found = self._do(lambda db: db.execute(f"SELECT {NAMES} FROM files WHERE id = ?", (id,)).fetchone())
        return row_of(found) if found else None

    def all(self) -> list[Row]:
        """Every file that was there when its folder was looked at last."""
        return [row_of(row) for row in self._do(lambda db: db.execute(f"SELECT {NAMES} FROM files").fetchall())]

    def description(self, id: int) -> Description:
        """All that is written about the file of that id."""
        names = [field.name for field in fields(Description)]
        found = self._do(lambda db: db.execute(f"SELECT {', '.join(names)} FROM files WHERE id = ?", (id,)).fetchone())
        return Description(**{**dict(found), "words": tuple(json.loads(found["words"]))}) if found else Description()

    def metadata(self, id: int) -> dict[str, object]:
        """The file's own metadata, long values (lists of training pictures, covers) aside."""
        found = self._do(lambda db: db.execute("SELECT metadata FROM files WHERE id = ?", (id,)).fetchone())
        return json.loads(found[0]) if found else {}

    def excerpts(self, length: int = 300) -> dict[int, str]:
        """What is written about each file, cut; those of which nothing is written are left out."""
        query = "SELECT id, substr(text, 1, ?) FROM files WHERE text <> ''"
        return {row[0]: row[1] for row in self._do(lambda db: db.execute(query, (length,)).fetchall())}

    def matching(self, text: str) -> set[int]:
        """The ids of the files whose name, folder or description holds every word of `text`, letter by letter."""
        words = [word for word in re.split(r"[\s\0]+", plain(text)) if word][:20]
        # LIKE alone would take _ and % for any letters, and with an ESCAPE it would not go by FTS5's index
        where = [f"{'' if _has_trigram(word) else '+'}body LIKE ? AND instr(body, ?)" for word in words]
        query = f"SELECT rowid FROM search WHERE {' AND '.join(where) or '1'}"
        values = [value for word in words for value in (f"%{word}%", word)]
        return {row[0] for row in self._do(lambda db: db.execute(query, values).fetchall())}

    def unread(self) -> int:
        """How many files are still to be read."""
        return self._do(lambda db: db.execute("SELECT count(*) FROM files WHERE read = 0").fetchone()[0])

    # -- the database --

    def _rows(self, db: sqlite3.Connection, kind: str, root: str, seen: dict[str, Seen]) -> dict[str, Row]:
        """As last time, if neither the folder nor the database has changed since."""
        last = self._last.get((kind, root))
        if last and last[0] == _version(db) and last[1] == seen:
            return last[2]
        rows = synchronised(db, kind, root, seen)
        self._last[kind, root] = _version(db), seen, rows
        return rows

    def _do(self, work: Callable[[sqlite3.Connection], Found]) -> Found:
        """`work` in one transaction; on a damaged file again with a new one, at last in memory."""
        with self._lock:
            for last in (False, False, True):
                try:
                    db = self._db = self._db or _opened(":memory:" if last else self._file)
                    with db:
                        return work(db)
                except (sqlite3.Error, OSError) as error:
                    self.close()
                    if last:
                        raise
                    log.warning("The index of models is made anew: %s.", error)
                    if type(error) is sqlite3.DatabaseError:  # it is damaged, or no database
                        with contextlib.suppress(OSError):
                            self._file.unlink()
        raise AssertionError("not reached")


def _has_trigram(word: str) -> bool:
    """Has it three letters in a row without LIKE's wildcards? SQLite 3.40 crashes where FTS5 is asked for one that has and one that has
    not: the latter are compared by themselves, which the + says."""
    return any(len(run) >= 3 for run in re.split("[_%]", word))


def _opened(file: Path | str) -> sqlite3.Connection:
    if isinstance(file, Path):
        file.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(file, timeout=10, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA synchronous = OFF")
        with db:
            db.execute("BEGIN IMMEDIATE")
            if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                _create(db)
    except BaseException:
        db.close()
        raise
    return db


def _create(db: sqlite3.Connection) -> None:
    for table in ("files", "search"):
        db.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in SCHEMA.split(";"):
        db.execute(statement)
    try:
        db.execute("CREATE VIRTUAL TABLE search USING fts5(body, tokenize = 'trigram')")
    except sqlite3.OperationalError:  # a SQLite without it: the same queries, slower
        db.execute("CREATE TABLE search (body TEXT)")
    db.execute(f"PRAGMA user_version = {VERSION}")


def _version(db: sqlite3.Connection) -> tuple[int, int]:
    """Changes when this or another process writes."""
    return db.execute("PRAGMA data_version").fetchone()[0], db.total_changes
