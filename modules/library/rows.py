"""The rows of the index: their layout, and how one follows its file."""

import json
import re
import sqlite3
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from modules.library.descriptions import describe, short_values
from modules.library.signs import family_said, read_signs
from modules.library.walk import Seen, Stamp

VERSION = 2
SCHEMA = """
CREATE TABLE files (
  id INTEGER PRIMARY KEY AUTOINCREMENT, root TEXT, name TEXT, path TEXT, kind TEXT, size INTEGER, mtime INTEGER, changed INTEGER,
  sidecars TEXT, sidecar_time INTEGER, preview TEXT, read INTEGER DEFAULT 0, role TEXT DEFAULT '', family TEXT DEFAULT '',
  trouble TEXT DEFAULT '', title TEXT DEFAULT '', alias TEXT DEFAULT '', base TEXT DEFAULT '', words TEXT DEFAULT '[]',
  activation TEXT DEFAULT '', text TEXT DEFAULT '', notes TEXT DEFAULT '', negative TEXT DEFAULT '', weight REAL, trainer_hash TEXT DEFAULT '',
  metadata TEXT DEFAULT '{}',
  UNIQUE (root, name));
CREATE INDEX unread ON files (id) WHERE read = 0;
"""
COLUMNS = (
    *("id", "root", "name", "path", "kind", "size", "mtime", "changed", "preview", "read", "role", "family", "trouble"),
    *("title", "alias", "base", "words", "activation", "negative", "weight", "trainer_hash"),
)


NAMES = ", ".join(COLUMNS)
_SEEN = ("path", "kind", "size", "mtime", "changed", "sidecars", "sidecar_time", "preview")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One file as the index knows it. Until `read`, nothing is known of what it holds. `trouble` is a sentence or ""."""

    id: int
    root: str
    name: str
    path: str
    kind: str
    size: int
    mtime: int
    changed: int
    preview: str | None = None
    read: bool = False
    role: str = ""
    family: str = ""
    trouble: str = ""
    title: str = ""
    alias: str = ""
    base: str = ""
    words: tuple[str, ...] = ()
    activation: str = ""
    negative: str = ""
    weight: float | None = None
    trainer_hash: str = ""

    @property
    def stamp(self) -> Stamp:
        """What the file's status was when it was last seen."""
        return Stamp(size=self.size, mtime=self.mtime, changed=self.changed)


def row_of(found: sqlite3.Row) -> Row:
    values = {name: found[name] for name in COLUMNS}
    return Row(**{**values, "read": bool(values["read"]), "words": tuple(json.loads(values["words"]))})


def synchronised(db: sqlite3.Connection, kind: str, root: str, seen: dict[str, Seen]) -> dict[str, Row]:
    """Make the rows below `root` those of what was seen there; name -> row."""
    known = _known(db, root)
    if _differ(known, seen, kind):
        db.execute("BEGIN IMMEDIATE")  # another process may be about to write the same
        known = _known(db, root)
        gone = [(known[name]["id"],) for name in known.keys() - seen.keys()]
        db.executemany("DELETE FROM files WHERE id = ?", gone)
        db.executemany("DELETE FROM search WHERE rowid = ?", gone)
        for name, found in seen.items():
            if name not in known:
                _add(db, root, found, kind)
            elif not _same(known[name], found, kind):
                _change(db, known[name]["id"], found, kind)
        known = _known(db, root)
    return {name: row_of(row) for name, row in known.items()}


def _known(db: sqlite3.Connection, root: str) -> dict[str, sqlite3.Row]:
    query = f"SELECT {NAMES}, sidecars, sidecar_time FROM files WHERE root = ?"
    return {row["name"]: row for row in db.execute(query, (root,))}


def _differ(known: dict[str, sqlite3.Row], seen: dict[str, Seen], kind: str) -> bool:
    return known.keys() != seen.keys() or not all(_same(known[name], found, kind) for name, found in seen.items())


def _same(row: sqlite3.Row, seen: Seen, kind: str) -> bool:
    return tuple(row[name] for name in _SEEN) == _values(seen, kind)


def _values(seen: Seen, kind: str) -> tuple[object, ...]:
    stamp = seen.stamp
    sidecars = json.dumps(seen.sidecars)
    return seen.path, kind, stamp.size, stamp.mtime, stamp.changed, sidecars, seen.sidecar_time, seen.preview


def _add(db: sqlite3.Connection, root: str, seen: Seen, kind: str) -> None:
    """A new file. Its name can be searched at once; the rest when it has been read."""
    columns = ("root", "name", *_SEEN)
    query = f"INSERT INTO files ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    done = db.execute(query, (root, seen.name, *_values(seen, kind)))
    db.execute("INSERT INTO search (rowid, body) VALUES (?, ?)", (done.lastrowid, plain(seen.name)))


def _change(db: sqlite3.Connection, id: int, seen: Seen, kind: str) -> None:
    """A file that is another one now, or something beside it."""
    marks = ", ".join(f"{column} = ?" for column in _SEEN)
    db.execute(f"UPDATE files SET {marks}, read = 0 WHERE id = ?", (*_values(seen, kind), id))
    _search(db, id, seen.name)


def _search(db: sqlite3.Connection, id: int, *texts: str) -> None:
    db.execute("DELETE FROM search WHERE rowid = ?", (id,))
    db.execute("INSERT INTO search (rowid, body) VALUES (?, ?)", (id, plain("\n".join(texts))))


def read_row(row: Row, sidecars: list[str]) -> dict[str, object]:
    path = Path(row.path)
    signs = read_signs(path)
    told = describe(path.parent, sidecars, signs.metadata)
    return {
        **vars(told),
        "words": json.dumps(told.words),
        "role": signs.role,
        "family": signs.family or family_said(told.base),
        "trouble": signs.trouble,
        "metadata": json.dumps(short_values(signs.metadata)),
        "trainer_hash": _hex(signs.metadata.get("sshs_model_hash", "")),
    }


def _hex(text: str) -> str:
    return text[:64] if re.fullmatch(r"(0x)?[0-9a-fA-F]{12,}", text) else ""


def keep_row(db: sqlite3.Connection, row: Row, values: dict[str, object]) -> None:
    """Write what was read, unless the file has changed meanwhile."""
    marks = ", ".join(f"{name} = ?" for name in values)
    done = db.execute(
        f"UPDATE files SET {marks}, read = 1 WHERE id = ? AND size = ? AND mtime = ? AND changed = ?",
        (*values.values(), row.id, row.size, row.mtime, row.changed),
    )
    if done.rowcount:
        _search(
            db,
            row.id,
            row.name,
            *(str(values[name]) for name in ("title", "alias", "base", "family", "role")),
            *_more(values),
        )


def _more(values: dict[str, object]) -> tuple[str, ...]:
    return ", ".join(json.loads(str(values["words"]))), str(values["text"]), str(values["notes"])


def plain(text: str) -> str:
    """`text` as it is compared in a search: without regard to case or Unicode form."""
    return unicodedata.normalize("NFKC", text).casefold()
