"""Jobs, the pictures they are given and those they make, in SQLite; every change is on disk before the call returns."""

import json
import logging
import sqlite3
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from modules.core.database import Database
from modules.core.errors import InputError, StorageError
from modules.jobs.bodies import Bodies
from modules.jobs.calls import SCHEMA as CALLS
from modules.jobs.calls import Calls, Hook, forget_user, keep_hooks, note_state
from modules.jobs.chains import Chains
from modules.jobs.keys import SCHEMA as KEYS
from modules.jobs.keys import Key, find_key, keep_key
from modules.requests.kinds import Request, kind_of
from modules.requests.pictures import pictures_of, with_pictures

log = logging.getLogger(__name__)

State = Literal["queued", "running", "done", "stopped", "failed"]
STATES: tuple[State, ...] = ("queued", "running", "done", "stopped", "failed")
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
CREATE TABLE IF NOT EXISTS pictures (
    job TEXT NOT NULL REFERENCES jobs(id), sha256 TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (job, sha256)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS labels (
    job TEXT PRIMARY KEY REFERENCES jobs(id) ON DELETE CASCADE, name TEXT, bookmarked INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS series (begun TEXT PRIMARY KEY, job TEXT NOT NULL UNIQUE) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS paused (user TEXT PRIMARY KEY) WITHOUT ROWID;
"""


OUTLINE = "id, number, user, kind, state, tries, submitted, started, ended, message, info"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of the queue. `kind`: what `request` is, its pictures left in the store; `seed` is the first picture's; `options` the settings snapshot; `info` what
    the engine reported."""

    id: str
    number: int
    user: str
    kind: str
    request: Any
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
class Ticket:
    """A job that is not over, as far as its place in the queue goes."""

    id: str
    number: int
    user: str
    state: State


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
        self._db = Database(path, SCHEMA + KEYS + CALLS, "The job store", private=True)
        self._bodies = Bodies(self._db)
        self._tickets: tuple[int, list[Ticket]] = (-1, [])
        self.calls = Calls(self._db)
        self.chains = Chains(self._db)

    @property
    def version(self) -> int:
        """Another one after every change."""
        return self._db.version

    def close(self) -> None:
        """Close the database; the store is of no use afterwards."""
        self._db.close()

    def add(
        self,
        *,
        user: str,
        request: Request,
        seed: int,
        options: dict[str, Any],
        job_id: str | None = None,
        key: Key | None = None,
        hook: Hook | None = None,
    ) -> Job:
        """Store a new job as queued, under that key of its user. `hook`: an address that is told of it, beside the settings'."""
        job_id = job_id or uuid.uuid4().hex
        with self._db.change() as db:
            number = db.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM jobs").fetchone()[0]
            row = (
                job_id,
                number,
                user,
                kind_of(request),
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
            _add_pictures(db, job_id, request)
            keep_hooks(db, job_id, options, hook)
            if key:
                keep_key(db, user, key, job_id)
        job = self.get(job_id)
        assert job
        return job

    def keyed(self, user: str, key: Key) -> Job | None:
        """The job that was stored under that key; raises InputError if that was another request."""
        with self._db.change() as db:
            found = find_key(db, user, key)
        return self.get(found) if found else None

    def get(self, job_id: str) -> Job | None:
        """The job of that id."""
        found = self._jobs("WHERE id=?", (job_id,))
        return found[0] if found else None

    def whole_request(self, job: Job) -> Any:
        """The job's request with the bytes of its pictures."""
        rows = self._db.read("SELECT sha256, data FROM pictures WHERE job=?", (job.id,))
        try:
            return with_pictures(job.request, {row["sha256"]: row["data"] for row in rows})
        except KeyError as error:
            raise StorageError(
                f'The pictures that job "{job.id}" begins with are no longer kept. Send it again with them.'
            ) from error

    def some(self, ids: Sequence[str]) -> list[Job]:
        """Those jobs, in that order; ids of none are passed over."""
        found = {job.id: job for job in self._jobs(f"WHERE id IN ({_places(ids)})", ids)}
        return [found[job_id] for job_id in ids if job_id in found]

    def unfinished(self) -> list[Job]:
        """Queued and running jobs in order of submission."""
        return self._jobs("WHERE state IN ('queued', 'running') ORDER BY number")

    def tickets(self) -> list[Ticket]:
        """`unfinished`, without what the jobs are about."""
        version = self.version
        known, found = self._tickets
        if known != version:
            rows = self._db.read(
                "SELECT id, number, user, state FROM jobs WHERE state IN ('queued', 'running') ORDER BY number"
            )
            found = [Ticket(**dict(row)) for row in rows]
            self._tickets = version, found
        return [*found]

    def counts(self) -> dict[State, int]:
        """How many jobs there are in each state."""
        found = {
            row["state"]: row["n"] for row in self._db.read("SELECT state, count(*) AS n FROM jobs GROUP BY state")
        }
        return {state: found.get(state, 0) for state in STATES}

    def recent(self, count: int, user: str | None = None) -> list[Job]:
        """The newest jobs of that user, or of everyone, newest first, whatever their state."""
        if user is None:
            return self._jobs("ORDER BY number DESC LIMIT ?", (count,))
        return self._jobs("WHERE user=? ORDER BY number DESC LIMIT ?", (user, count))

    def finished(self, kind: str, count: int) -> list[Job]:
        """The newest jobs of that kind that were done, whoever's."""
        return self._jobs("WHERE kind=? AND state='done' ORDER BY number DESC LIMIT ?", (kind, count))

    def over(
        self, user: str | None, states: Sequence[State], *, bookmarked: bool, count: int, offset: int
    ) -> tuple[list[Job], int]:
        """Jobs in those states of that user, or of everyone, the latest first; and how many there are. `bookmarked`: those alone."""
        where = f"WHERE state IN ({','.join('?' * len(states))})"
        values: list[Any] = [*states]
        if user is not None:
            where, values = f"{where} AND user=?", [*values, user]
        if bookmarked:
            where += " AND id IN (SELECT job FROM labels WHERE bookmarked=1)"
        total = self._db.read(f"SELECT count(*) AS n FROM jobs {where}", values)[0]["n"]
        return self._jobs(f"{where} ORDER BY number DESC LIMIT ? OFFSET ?", [*values, count, offset]), total

    def label(self, job_id: str, *, name: str | None = None, bookmarked: bool | None = None) -> None:
        """Call a job something, or mark it; what is None stays as it is."""
        with self._db.change() as db:
            db.execute("INSERT OR IGNORE INTO labels (job) VALUES (?)", (job_id,))
            db.execute(
                "UPDATE labels SET name=COALESCE(?, name), bookmarked=COALESCE(?, bookmarked) WHERE job=?",
                (name, bookmarked, job_id),
            )

    def label_of(self, job_id: str) -> tuple[str | None, bool]:
        """What a job is called, and whether it is marked."""
        rows = self._db.read("SELECT name, bookmarked FROM labels WHERE job=?", (job_id,))
        return (rows[0]["name"], bool(rows[0]["bookmarked"])) if rows else (None, False)

    def forget(self, job_id: str) -> list[Path]:
        """Drop a job that is over; the files of its pictures that were made without saving, to be deleted."""
        with self._db.change() as db:
            rows = db.execute("SELECT path FROM images WHERE job=? AND kept=0", (job_id,)).fetchall()
            for table in ("images", "pictures"):
                db.execute(f"DELETE FROM {table} WHERE job=?", (job_id,))
            db.execute("DELETE FROM jobs WHERE id=?", (job_id,))
        self._bodies.forget(job_id)
        return [Path(row["path"]) for row in rows]

    def disown(self, user: str) -> None:
        """The jobs of that user belong to nobody who could come by the same name."""
        with self._db.change() as db:
            db.execute("DELETE FROM keys WHERE user=?", (user,))
            forget_user(db, user)
            db.execute("UPDATE jobs SET user='(' || user || ')' WHERE user=? COLLATE NOCASE", (user,))

    def start(self, job_id: str) -> None:
        """The job is running: one more try."""
        with self._db.change() as db:
            db.execute("UPDATE jobs SET state='running', tries=tries+1, started=? WHERE id=?", (time.time(), job_id))
            note_state(db, job_id)

    def requeue(self, job_id: str, *, forget_try: bool = False) -> None:
        """Back into the queue, at its old place."""
        self._db.write("UPDATE jobs SET state='queued', tries=tries-? WHERE id=?", (int(forget_try), job_id))

    def end(self, job_id: str, state: State, *, message: str | None = None, info: dict[str, Any] | None = None) -> None:
        """The job is over."""
        with self._db.change() as db:
            db.execute(
                "UPDATE jobs SET state=?, ended=?, message=?, info=? WHERE id=?",
                (state, time.time(), message, json.dumps(info or {}), job_id),
            )
            note_state(db, job_id)

    def revive(self, job_id: str) -> None:
        """A job that was over waits again, behind all others and with its tries before it; its pictures stay."""
        self._db.write(
            "UPDATE jobs SET state='queued', tries=0, ended=NULL, message=NULL, number=(SELECT MAX(number) + 1 FROM jobs) WHERE id=?",
            (job_id,),
        )

    def reorder(self, numbers: Mapping[str, int]) -> None:
        """Give those jobs those numbers, which say their order."""
        with self._db.change() as db:
            db.executemany("UPDATE jobs SET number=? WHERE id=?", [(number, job) for job, number in numbers.items()])

    def replace_request(self, job_id: str, request: Request, seed: int) -> None:
        """What a waiting job is asked to do."""
        with self._db.change() as db:
            db.execute("UPDATE jobs SET request=?, seed=? WHERE id=?", (request.model_dump_json(), seed, job_id))
            _add_pictures(db, job_id, request)
        self._bodies.forget(job_id)

    def paused(self) -> frozenset[str]:
        """The users whose jobs are not begun."""
        return frozenset(row["user"] for row in self._db.read("SELECT user FROM paused"))

    def set_paused(self, user: str, wish: bool) -> None:
        """Whether that user's jobs are begun from now on."""
        statement = "INSERT OR IGNORE INTO paused (user) VALUES (?)" if wish else "DELETE FROM paused WHERE user=?"
        self._db.write(statement, (user,))

    def add_image(
        self, *, job: str, position: int, path: Path, infotext: str, seed: int, kept: bool, incomplete: bool
    ) -> int:
        """Record a picture whose file is already on disk; its id."""
        row = (job, position, str(path), infotext, seed, int(kept), int(incomplete), time.time())
        return self._db.write(
            "INSERT OR REPLACE INTO images (job, position, path, infotext, seed, kept, incomplete, made) VALUES (?,?,?,?,?,?,?,?)",
            row,
        )

    def images(self, job_id: str) -> list[Image]:
        """The job's pictures in order."""
        return self._images("WHERE job=? ORDER BY position", (job_id,))

    def images_of(self, ids: Sequence[str]) -> dict[str, list[Image]]:
        """`images` of each of those jobs."""
        found: dict[str, list[Image]] = {job_id: [] for job_id in ids}
        for image in self._images(f"WHERE job IN ({_places(ids)}) ORDER BY job, position", ids):
            found[image.job].append(image)
        return found

    def image(self, image_id: int) -> Image | None:
        """The picture of that id."""
        found = self._images("WHERE id=?", (image_id,))
        return found[0] if found else None

    def has_file(self, path: Path) -> bool:
        """Whether that file is a picture of some job."""
        return bool(self._db.read("SELECT 1 FROM images WHERE path=? LIMIT 1", (str(path),)))

    def unkept(self) -> list[Image]:
        """The pictures that jobs made without saving them, of jobs that are over, newest first."""
        over = f"job IN (SELECT id FROM jobs WHERE state IN ({_places(ENDED)}))"
        return self._images(f"WHERE kept=0 AND {over} ORDER BY made DESC", ENDED)

    def forget_images(self, ids: Sequence[int]) -> None:
        """Drop the rows of those pictures."""
        with self._db.change() as db:
            db.executemany("DELETE FROM images WHERE id=?", [(number,) for number in ids])

    def forget_given(self, before: float) -> None:
        """Drop the pictures that jobs were given which ended before that time."""
        self._db.write("DELETE FROM pictures WHERE job IN (SELECT id FROM jobs WHERE ended<?)", (before,))

    def forget_from(self, job_id: str, position: int) -> list[Path]:
        """Drop the rows of the job's pictures from that position on; their files, to be deleted."""
        with self._db.change() as db:
            rows = db.execute("SELECT path FROM images WHERE job=? AND position>=?", (job_id, position)).fetchall()
            db.execute("DELETE FROM images WHERE job=? AND position>=?", (job_id, position))
        return [Path(row["path"]) for row in rows]

    def _jobs(self, where: str, values: Sequence[Any] = ()) -> list[Job]:
        rows = self._db.read(f"SELECT {OUTLINE} FROM jobs {where}", values)
        found = []
        for row in rows:
            try:
                body = self._bodies.of(row["id"])
                info = json.loads(row["info"] or "{}")
                found.append(Job(**{**dict(row), **vars(body), "info": info}))
            except (ValueError, TypeError, KeyError, InputError) as error:
                log.warning("job %s cannot be read: %s", row["id"], error)
                if row["state"] not in ENDED:
                    self.end(
                        row["id"], "failed", message="Another version stored this job, and this one cannot read it."
                    )
        return found

    def _images(self, where: str, values: Sequence[Any]) -> list[Image]:
        rows = self._db.read(f"SELECT * FROM images {where}", values)
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


def _add_pictures(db: sqlite3.Connection, job_id: str, request: Request) -> None:
    db.executemany(
        "INSERT OR IGNORE INTO pictures (job, sha256, data) VALUES (?,?,?)",
        [(job_id, picture.sha256, picture.data) for picture in pictures_of(request)],
    )


def _places(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
