"""The queue of downloads in SQLite; every change is on disk before the call returns."""

import logging
import sqlite3
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import ValidationError

from modules.core.database import Database
from modules.library.downloads.plan import Plan

log = logging.getLogger(__name__)

State = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
OPEN: tuple[State, ...] = ("queued", "running", "paused", "failed")
"""The states of a download that has, or may get, a part on disk."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS downloads (
    id TEXT PRIMARY KEY, place REAL NOT NULL, state TEXT NOT NULL, plan TEXT NOT NULL, received INTEGER NOT NULL DEFAULT 0,
    size INTEGER, message TEXT NOT NULL DEFAULT '', added REAL NOT NULL, ended REAL);
"""


@dataclass(frozen=True, kw_only=True)
class Download:
    """One row. `place` orders the queue; `received` and `size` are bytes as last written down; times are seconds since 1970."""

    id: str
    place: float
    state: State
    plan: Plan
    received: int
    size: int | None
    message: str
    added: float
    ended: float | None


class DownloadStore:
    """The database. Safe to use from several threads; one process owns it."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, SCHEMA, "The list of downloads")

    def close(self) -> None:
        """Close the database; the store is of no use afterwards."""
        self._db.close()

    def add(self, plan: Plan) -> Download:
        """A new row at the end of the queue."""
        with self._db.change() as db:
            place = db.execute("SELECT COALESCE(MAX(place), 0) + 1 FROM downloads").fetchone()[0]
            row = (uuid.uuid4().hex, place, "queued", plan.model_dump_json(), plan.size, time.time())
            db.execute("INSERT INTO downloads (id, place, state, plan, size, added) VALUES (?,?,?,?,?,?)", row)
        found = self.get(row[0])
        assert found
        return found

    def get(self, download_id: str) -> Download | None:
        """The row of that id."""
        return next(iter(self._rows("WHERE id=?", download_id)), None)

    def all(self) -> list[Download]:
        """Every row in the order of the queue."""
        return self._rows("ORDER BY place")

    def set_state(self, download_id: str, state: State, message: str = "") -> None:
        """The row has that state now."""
        ended = time.time() if state in ("done", "failed", "cancelled") else None
        with self._db.change() as db:
            db.execute(
                "UPDATE downloads SET state=?, message=?, ended=? WHERE id=?", (state, message, ended, download_id)
            )

    def note_progress(self, download_id: str, received: int, size: int | None) -> None:
        """How far it has come."""
        with self._db.change() as db:
            db.execute("UPDATE downloads SET received=?, size=? WHERE id=?", (received, size, download_id))

    def put_first(self, download_id: str) -> None:
        """Before all others."""
        with self._db.change() as db:
            first = "(SELECT MIN(place) - 1 FROM downloads)"
            db.execute(f"UPDATE downloads SET place={first} WHERE id=?", (download_id,))

    def rename(self, download_id: str, plan: Plan) -> None:
        """The plan has another name now."""
        with self._db.change() as db:
            db.execute("UPDATE downloads SET plan=? WHERE id=?", (plan.model_dump_json(), download_id))

    def remove(self, download_id: str) -> None:
        """Forget the row."""
        with self._db.change() as db:
            db.execute("DELETE FROM downloads WHERE id=?", (download_id,))

    def _rows(self, where: str, *values: Any) -> list[Download]:
        rows = self._db.read(f"SELECT * FROM downloads {where}", values)
        return [found for row in rows if (found := _download(row))]


def _download(row: sqlite3.Row) -> Download | None:
    values = {key: row[key] for key in row.keys()}  # noqa: SIM118  # sqlite3.Row iterates values
    try:
        values["plan"] = Plan.model_validate_json(values["plan"])
    except ValidationError:
        log.warning("download %s was stored by another version and cannot be read", values["id"])
        return None
    values["state"] = cast(State, values["state"])
    return Download(**values)
