"""The album's database: rows that follow files, searches, favourites, boards."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from modules.core.errors import InputError, NotFound, StorageError, short
from modules.core.salvage import is_damage, mark
from modules.library.album.query import parse_query
from modules.library.album.scan import BATCH, File, folder_of
from modules.library.album.schema import Entry, Told, opened, spaced

Found = TypeVar("Found")
ORDERS = {"Newest first": "mtime DESC, id DESC", "Oldest first": "mtime, id", "Name": "name COLLATE NOCASE, id"}
VIEWS = ("all", "favourites", "trash")
_COLUMNS = ", ".join(field.name for field in fields(Entry))
_INSERT = """INSERT INTO pictures (root, name, folder, size, mtime) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (root, name) DO UPDATE SET size = excluded.size, mtime = excluded.mtime, read = 0"""
_READ = ("width", "height", "seed", "program", "model", "infotext", "trouble")


class AlbumStore:
    """May be used from any thread; opened when it is first needed. `version` changes with every change. Raises StorageError."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self.version = int(time.time() * 1000)  # another one after each start

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._db:
                self._db.close()
                self._db = None

    # -- rows that follow files --

    def known(self, root: str) -> dict[str, sqlite3.Row]:
        """Name -> id, size, mtime, missing of what is not in the trash."""
        query = "SELECT id, name, size, mtime, missing FROM pictures WHERE root = ? AND deleted IS NULL"
        return {row["name"]: row for row in self.rows(query, root)}

    def add_files(self, root: str, files: Sequence[File]) -> None:
        """New files, still to be read; one that looks like a missing one was moved, and stays what it is."""
        query = "SELECT id, size, mtime FROM pictures WHERE root = ? AND missing = 1 AND deleted IS NULL"
        lost = {(row["size"], row["mtime"]): row["id"] for row in self.rows(query, root)}
        for at in range(0, len(files), BATCH):
            with self.change() as db:
                for file in files[at : at + BATCH]:
                    moved = lost.pop((file.size, file.mtime), None)
                    if moved:
                        db.execute(
                            "UPDATE OR IGNORE pictures SET name = ?, folder = ?, missing = 0, read = 0 WHERE id = ?",
                            (file.name, folder_of(root, file.name), moved),
                        )
                    else:
                        free_name(db, root, file.name)
                        db.execute(_INSERT, (root, file.name, folder_of(root, file.name), file.size, file.mtime))

    def change_files(self, files: Sequence[tuple[File, int]]) -> None:
        """Files that are other ones now: to be read again."""
        for at in range(0, len(files), BATCH):
            with self.change() as db:
                db.executemany(
                    "UPDATE pictures SET size = ?, mtime = ?, missing = 0, read = 0, sha256 = '' WHERE id = ?",
                    [(file.size, file.mtime, id) for file, id in files[at : at + BATCH]],
                )

    def mark_missing(self, ids: Sequence[int]) -> None:
        """Files that are gone just now: their rows wait for them."""
        with self.change() as db:
            db.executemany("UPDATE pictures SET missing = 1 WHERE id = ?", [(id,) for id in ids])

    def put(self, root: str, file: File, told: Told, sha256: str, parents: Sequence[str], owner: str = "") -> int:
        """A file that was just written, with all that is known of it; its id."""
        with self.change() as db:
            id = self._insert(db, root, file)
            self._keep(db, id, told)
            db.execute("UPDATE pictures SET sha256 = ?, owner = ?, missing = 0 WHERE id = ?", (sha256, owner, id))
            db.executemany("INSERT OR IGNORE INTO parents VALUES (?, ?)", [(id, parent) for parent in parents])
        return id

    def unread(self, count: int) -> list[Entry]:
        """Some that are still to be read, the newest first."""
        return self.entries(f"WHERE read = 0 AND missing = 0 AND deleted IS NULL ORDER BY id DESC LIMIT {count}")

    def keep_read(self, read: Sequence[tuple[Entry, Told]]) -> None:
        """What was read in these files."""
        with self.change() as db:
            for entry, told in read:
                self._keep(db, entry.id, told)

    def _insert(self, db: sqlite3.Connection, root: str, file: File) -> int:
        free_name(db, root, file.name)
        db.execute(_INSERT, (root, file.name, folder_of(root, file.name), file.size, file.mtime))
        return db.execute("SELECT id FROM pictures WHERE root = ? AND name = ?", (root, file.name)).fetchone()["id"]

    def _keep(self, db: sqlite3.Connection, id: int, told: Told) -> None:
        marks = ", ".join(f"{name} = ?" for name in _READ)
        db.execute(f"UPDATE pictures SET {marks}, read = 1 WHERE id = ?", (*(getattr(told, n) for n in _READ), id))
        db.execute("DELETE FROM words WHERE rowid = ?", (id,))
        name = db.execute("SELECT name FROM pictures WHERE id = ?", (id,)).fetchone()["name"]
        texts = (told.prompt, told.negative, told.model, told.loras, told.sampler, name)
        db.execute(
            "INSERT INTO words (rowid, prompt, negative, model, lora, sampler, name) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (id, *(spaced(text) for text in texts)),
        )

    # -- searches --

    def ids(
        self,
        text: str = "",
        *,
        view: str = "all",
        board: int | None = None,
        folder: str = "",
        order: str = "Newest first",
        roots: Sequence[str] | None = None,
        by_meaning: bool = False,
        owner: str | None = None,
    ) -> list[int]:
        """Of the pictures that match, in that order; `roots`: only of these folders, `owner`: only that user's. Raises InputError."""
        query = parse_query(text, by_meaning=by_meaning)
        if owner is not None:
            query.add("owner = ?", owner)
        if roots is not None:
            query.add(_below(roots), *roots)
        query.add("missing = 0")
        query.add("deleted IS NOT NULL" if view == "trash" else "deleted IS NULL")
        if view == "favourites":
            query.add("favourite = 1")
        if board is not None:
            query.add("id IN (SELECT picture FROM board_pictures WHERE board = ?)", board)
        if folder:
            query.add("folder = ?", folder)
        sort = "deleted DESC, id DESC" if view == "trash" else ORDERS[order]
        sql = f"SELECT id FROM pictures WHERE {' AND '.join(query.where)} ORDER BY {sort}"
        return [row[0] for row in self.rows(sql, *query.values)]

    def favourites(self, owner: str | None = None) -> list[int]:
        """Their ids."""
        where, values = _of(owner)
        sql = f"SELECT id FROM pictures WHERE favourite = 1 AND deleted IS NULL AND {where}"
        return [row[0] for row in self.rows(sql, *values)]

    def disown(self, owner: str) -> None:
        """That user is gone: their pictures stay, as nobody's, their boards go."""
        with self.change() as db:
            db.execute("UPDATE pictures SET owner = '' WHERE owner = ? COLLATE NOCASE", (owner,))
            db.execute("DELETE FROM boards WHERE owner = ? COLLATE NOCASE", (owner,))

    def owned(self, ids: Sequence[int], owner: str | None) -> list[int]:
        """Those of them that are that user's."""
        if owner is None:
            return list(ids)
        own = {row[0] for row in self.rows("SELECT id FROM pictures WHERE owner = ?", owner)}
        return [id for id in ids if id in own]

    def entry(self, id: int, owner: str | None = None) -> Entry:
        """Raises NotFound, also for another user's."""
        where, values = _of(owner)
        found = self.entries(f"WHERE id = ? AND {where}", id, *values)
        if not found:
            raise NotFound(f"There is no picture {short(str(id))} in the gallery.")
        return found[0]

    def entries(self, where: str, *values: Any) -> list[Entry]:
        """The rows that match."""
        return [Entry(**dict(row)) for row in self.rows(f"SELECT {_COLUMNS} FROM pictures {where}", *values)]

    def related(self, entry: Entry, owner: str | None = None) -> tuple[list[int], list[int]]:
        """Ids of the pictures that this one was made from, and of those that were made from it."""
        where, values = _of(owner)
        there = f"deleted IS NULL AND missing = 0 AND id <> ? AND {where}"
        parents = f"SELECT id FROM pictures WHERE sha256 IN (SELECT sha256 FROM parents WHERE picture = ?) AND {there}"
        children = (
            f"SELECT id FROM pictures WHERE id IN (SELECT picture FROM parents WHERE sha256 = ?) AND {there} LIMIT 200"
        )
        return (
            [row[0] for row in self.rows(parents, entry.id, entry.id, *values)],
            [row[0] for row in self.rows(children, entry.sha256 or "-", entry.id, *values)],
        )

    def summary(self, roots: Sequence[str], owner: str | None = None) -> dict[str, Any]:
        """Counts, boards and folders, for the page: of what lies below these."""
        where, values = _of(owner)
        inside, values = f"{_below(roots)} AND {where}", [*roots, *values]
        there = f"deleted IS NULL AND missing = 0 AND {inside}"
        counts = self.rows(f"SELECT count(*), coalesce(sum(read = 0), 0) FROM pictures WHERE {there}", *values)[0]
        boards = self.rows(
            "SELECT id, name, (SELECT count(*) FROM board_pictures JOIN pictures p ON p.id = picture WHERE board = boards.id "
            "AND p.deleted IS NULL AND p.missing = 0) AS count FROM boards WHERE owner = ? ORDER BY name COLLATE NOCASE",
            owner or "",
        )
        folders = self.rows(f"SELECT DISTINCT folder FROM pictures WHERE {there} ORDER BY folder", *values)
        trash = self.rows(f"SELECT count(*) FROM pictures WHERE deleted IS NOT NULL AND {inside}", *values)[0][0]
        return {
            "version": self.version,
            "total": counts[0],
            "unread": counts[1],
            "trash": trash,
            "boards": [dict(row) for row in boards],
            "folders": [row[0] for row in folders],
        }

    # -- what users say --

    def set_favourite(self, ids: Sequence[int], value: bool) -> None:
        """Mark them, or take the mark away."""
        with self.change() as db:
            db.executemany("UPDATE pictures SET favourite = ? WHERE id = ?", [(int(value), id) for id in ids])

    def check_board(self, board: int, owner: str = "") -> None:
        """Raises NotFound if it is not that user's."""
        if not self.rows("SELECT 1 FROM boards WHERE id = ? AND owner = ?", board, owner):
            raise NotFound(f"There is no board {board}. Look at the list of boards again.")

    def to_board(self, name: str, ids: Sequence[int], owner: str = "") -> int:
        """Put them on that user's board of that name, which is made if need be; its id."""
        with self.change() as db:
            db.execute("INSERT OR IGNORE INTO boards (name, owner) VALUES (?, ?)", (name, owner))
            found = db.execute("SELECT id FROM boards WHERE name = ? AND owner = ?", (name, owner))
            board = found.fetchone()["id"]
            db.executemany(
                "INSERT OR IGNORE INTO board_pictures SELECT ?, id FROM pictures WHERE id = ?",
                [(board, id) for id in ids],
            )
        return board

    def from_board(self, board: int, ids: Sequence[int] | None) -> None:
        """Take these pictures off the board; None: remove the board itself, its pictures stay where they are."""
        with self.change() as db:
            if ids is None:
                db.execute("DELETE FROM boards WHERE id = ?", (board,))
            else:
                db.executemany(
                    "DELETE FROM board_pictures WHERE board = ? AND picture = ?", [(board, id) for id in ids]
                )

    def rename_board(self, board: int, name: str) -> None:
        """Raises InputError for a name that another board has."""
        same = "SELECT 1 FROM boards WHERE name = ? AND id <> ? AND owner = (SELECT owner FROM boards WHERE id = ?)"
        if self.rows(same, name, board, board):
            raise InputError("name", f"There is a board {short(name)} already. Choose another name.")
        with self.change() as db:
            db.execute("UPDATE boards SET name = ? WHERE id = ?", (name, board))

    # -- the database --

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """What a query finds."""
        return self._do(lambda db: db.execute(sql, values).fetchall())

    @contextmanager
    def change(self, *, seen: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction; `seen`: whether it changes what the page shows."""
        with self._lock:
            db = self._do(lambda db: db)
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
                self.version += seen
            except sqlite3.Error as error:
                raise StorageError(
                    f"The album cannot be written: {error}. Check the disk of the data folder."
                ) from error
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def _do(self, work: Callable[[sqlite3.Connection], Found]) -> Found:
        with self._lock:
            if self._db is None:
                self._db = opened(self._file)
            try:
                return work(self._db)
            except sqlite3.Error as error:
                if is_damage(error):  # the next call mends it
                    mark(self._file)
                    self.close()
                raise StorageError(f"The album cannot be read: {error}. Check the disk of the data folder.") from error


def given_up(id: int) -> str:
    """What stands behind the name of a picture in the trash whose own a new file has."""
    return f"-trash{id}"


def free_name(db: sqlite3.Connection, root: str, name: str, but: int = 0) -> None:
    """A picture in the trash gives up its name for a new file that has it, and comes back under another one."""
    row = db.execute(
        "SELECT id FROM pictures WHERE root = ? AND name = ? AND deleted IS NOT NULL AND id <> ?", (root, name, but)
    ).fetchone()
    if row:
        path = PurePosixPath(name)
        other = path.with_name(f"{path.stem}{given_up(row['id'])}{path.suffix}").as_posix()
        db.execute("UPDATE pictures SET name = ? WHERE id = ?", (other, row["id"]))


def _of(owner: str | None) -> tuple[str, list[str]]:
    """The condition that a picture is that user's, and its values; None: everybody's."""
    return ("TRUE", []) if owner is None else ("owner = ?", [owner])


def _below(roots: Sequence[str]) -> str:
    """The condition that a picture lies in one of so many folders."""
    return f"root IN ({', '.join('?' * len(roots))})"
