"""Jobs and their pictures in SQLite; every change is on disk before the call returns."""

import json
import logging
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from modules.core.errors import InputError, StorageError
from modules.requests.txt2img import Txt2ImgRequest

log = logging.getLogger(__name__)

State = Literal["queued", "running", "done", "stopped", "failed"]
ENDED: tuple[State, ...] = ("done", "stopped", "failed")

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL, user TEXT NOT NULL, kind TEXT NOT NULL, request TEXT NOT NULL,
    seed INTEGER NOT NULL, options TEXT NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
    submitted REAL NOT NULL, started REAL, ended REAL, message TEXT, info TEXT);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, number);
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL REFERENCES jobs(id), position INTEGER NOT NULL, path TEXT NOT NULL,
    infotext TEXT NOT NULL, seed INTEGER NOT NULL, kept INTEGER NOT NULL, incomplete INTEGER NOT NULL, made REAL NOT NULL,
    UNIQUE (job, position));
"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of the queue. `seed` is the first picture's; `options` the settings snapshot; `info` what the engine reported."""

    id: str
    number: int
    user: str
    request: Txt2ImgRequest
    seed: int
    options: dict[str, Any]
    state: State
    tries: int
    submitted: float
    started: float | None
    ended: float | None
    message: str | None
    info: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Image:
    """One finished picture. `kept`: it lies in the user's outputs, not in the results cache."""

    id: int
    job: str
    position: int
    path: Path
    infotext: str
    seed: int
    kept: bool
    incomplete: bool
    made: float


class JobStore:
    """The database. Safe to use from several threads; one process owns it."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA foreign_keys=ON")
            self._db.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f'The job store "{path}" cannot be opened: {error}. Check the folder, or choose another with --data-dir.'
            ) from error

    def close(self) -> None:
        """Close the database; the store is of no use afterwards."""
        with self._lock:
            self._db.close()

    def add(
        self, *, user: str, request: Txt2ImgRequest, seed: int, options: dict[str, Any], job_id: str | None = None
    ) -> Job:
        """Store a new job as queued."""
        job_id = job_id or uuid.uuid4().hex
        with self._change() as db:
            number = db.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM jobs").fetchone()[0]
            row = (
                job_id,
                number,
                user,
                "txt2img",
                request.model_dump_json(),
                seed,
                json.dumps(options),
                "queued",
                time.time(),
            )
            db.execute(
                "INSERT INTO jobs (id, number, user, kind, request, seed, options, state, submitted) VALUES (?,?,?,?,?,?,?,?,?)",
                row,
            )
        job = self.get(job_id)
        assert job
        return job

    def get(self, job_id: str) -> Job | None:
        """The job of that id."""
        found = self._jobs("WHERE id=?", (job_id,))
        return found[0] if found else None

    def unfinished(self) -> list[Job]:
        """Queued and running jobs in order of submission."""
        return self._jobs("WHERE state IN ('queued', 'running') ORDER BY number")

    def recent(self, count: int) -> list[Job]:
        """The newest jobs of everyone, newest first, whatever their state."""
        return self._jobs("ORDER BY number DESC LIMIT ?", (count,))

    def start(self, job_id: str) -> None:
        """The job is running: one more try."""
        self._write("UPDATE jobs SET state='running', tries=tries+1, started=? WHERE id=?", (time.time(), job_id))

    def requeue(self, job_id: str, *, forget_try: bool = False) -> None:
        """Back into the queue, at its old place."""
        self._write("UPDATE jobs SET state='queued', tries=tries-? WHERE id=?", (int(forget_try), job_id))

    def end(self, job_id: str, state: State, *, message: str | None = None, info: dict[str, Any] | None = None) -> None:
        """The job is over."""
        self._write(
            "UPDATE jobs SET state=?, ended=?, message=?, info=? WHERE id=?",
            (state, time.time(), message, json.dumps(info or {}), job_id),
        )

    def add_image(
        self, *, job: str, position: int, path: Path, infotext: str, seed: int, kept: bool, incomplete: bool
    ) -> int:
        """Record a picture whose file is already on disk; its id."""
        row = (job, position, str(path), infotext, seed, int(kept), int(incomplete), time.time())
        return self._write(
            "INSERT OR REPLACE INTO images (job, position, path, infotext, seed, kept, incomplete, made) VALUES (?,?,?,?,?,?,?,?)",
            row,
        )

    def images(self, job_id: str) -> list[Image]:
        """The job's pictures in order."""
        return self._images("WHERE job=? ORDER BY position", (job_id,))

    def image(self, image_id: int) -> Image | None:
        """The picture of that id."""
        found = self._images("WHERE id=?", (image_id,))
        return found[0] if found else None

    def forget_unkept(self, before: float) -> list[Path]:
        """Drop the rows of pictures that were made without saving before that time; their files, to be deleted."""
        with self._change() as db:
            rows = db.execute("SELECT path FROM images WHERE kept=0 AND made<?", (before,)).fetchall()
            db.execute("DELETE FROM images WHERE kept=0 AND made<?", (before,))
        return [Path(row["path"]) for row in rows]

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise StorageError(
                    f"The job store cannot be written: {error}. Check the disk of the data folder."
                ) from error
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _write(self, statement: str, values: Sequence[Any]) -> int:
        with self._change() as db:
            return db.execute(statement, values).lastrowid or 0

    def _jobs(self, where: str, values: Sequence[Any] = ()) -> list[Job]:
        with self._lock:
            rows = self._db.execute(f"SELECT * FROM jobs {where}", values).fetchall()
        found = []
        for row in rows:
            try:
                found.append(_job(row))
            except (ValueError, TypeError, InputError) as error:
                log.warning("job %s cannot be read: %s", row["id"], error)
                if row["state"] not in ENDED:
                    self.end(
                        row["id"], "failed", message="Another version stored this job, and this one cannot read it."
                    )
        return found

    def _images(self, where: str, values: Sequence[Any]) -> list[Image]:
        with self._lock:
            rows = self._db.execute(f"SELECT * FROM images {where}", values).fetchall()
        return [
            Image(
                **{
                    **dict(row),
                    "path": Path(row["path"]),
                    "kept": bool(row["kept"]),
                    "incomplete": bool(row["incomplete"]),
                }
            )
            for row in rows
        ]


def _job(row: sqlite3.Row) -> Job:
    values = {key: row[key] for key in row.keys() if key != "kind"}  # noqa: SIM118  # sqlite3.Row iterates values
    values["request"] = Txt2ImgRequest.model_validate_json(row["request"])
    values["options"] = json.loads(row["options"])
    values["info"] = json.loads(row["info"] or "{}")
    return Job(**values)
