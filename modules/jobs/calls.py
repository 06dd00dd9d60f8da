"""Webhooks in the job store: who is told of a job, and the calls that are still to be made. A call is stored with the change it tells of."""

import base64
import json
import secrets
import sqlite3
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any

from modules.core.database import Database

EVENTS: Mapping[str, str] = MappingProxyType(
    {"running": "begun", "done": "done", "failed": "failed", "stopped": "cancelled"}
)
"""What a job's state is called in a call."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS hooks (
    job TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE, url TEXT NOT NULL, user TEXT NOT NULL, form INTEGER NOT NULL,
    PRIMARY KEY (job, url)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
    id TEXT PRIMARY KEY, job TEXT NOT NULL, url TEXT NOT NULL, user TEXT NOT NULL, form INTEGER NOT NULL, event TEXT NOT NULL,
    body TEXT NOT NULL, made REAL NOT NULL, due REAL NOT NULL, tries INTEGER NOT NULL DEFAULT 0, trouble TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS calls_by_time ON calls (due);
CREATE TABLE IF NOT EXISTS webhook_secrets (user TEXT PRIMARY KEY COLLATE NOCASE, secret TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, kw_only=True)
class Hook:
    """`url` is told of a job; `user`: whose secret signs it, "" the server's. `form`: as agent-scheduler does it, a form with the
    pictures at the end; else JSON, at the beginning too."""

    url: str
    user: str
    form: bool = False


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call. `body`: JSON text; `due` and `made` in seconds since 1970; `trouble`: what became of the last try."""

    id: str
    job: str
    url: str
    user: str
    form: bool
    event: str
    body: str
    made: float
    due: float
    tries: int
    trouble: str


def keep_hooks(db: sqlite3.Connection, job_id: str, options: Mapping[str, Any], own: Hook | None) -> None:
    """Who is told of a job with those settings: the address in them, and the one that its request brought; in the transaction that
    stores it."""
    url = options.get("webhook_url")
    hooks = [*([Hook(url=url, user="")] if url else []), *([own] if own else [])]
    rows = [(job_id, hook.url, hook.user, int(hook.form)) for hook in hooks]
    db.executemany("INSERT OR REPLACE INTO hooks (job, url, user, form) VALUES (?,?,?,?)", rows)


def note_state(db: sqlite3.Connection, job_id: str) -> None:
    """Store the calls about the state that the job has come to; in the transaction of that change."""
    hooks = db.execute("SELECT url, user, form FROM hooks WHERE job=?", (job_id,)).fetchall()
    if not hooks:
        return
    job = db.execute("SELECT * FROM jobs WHERE id=?", (job_id,)).fetchone()
    event = EVENTS.get(job["state"])
    if event is None or event == "begun" and job["tries"] > 1:
        return
    images = db.execute("SELECT id FROM images WHERE job=? ORDER BY position", (job_id,)).fetchall()
    now = time.time()
    body = json.dumps(_told(job, event, [row["id"] for row in images], now), ensure_ascii=False)
    for hook in hooks:
        if not (hook["form"] and event == "begun"):
            db.execute(
                "INSERT INTO calls (id, job, url, user, form, event, body, made, due) VALUES (?,?,?,?,?,?,?,?,?)",
                (f"msg_{uuid.uuid4().hex}", job_id, hook["url"], hook["user"], hook["form"], event, body, now, now),
            )


def _told(job: sqlite3.Row, event: str, images: list[int], now: float) -> dict[str, Any]:
    return {
        "type": f"job.{event}",
        "timestamp": datetime.fromtimestamp(now, timezone.utc).isoformat(),
        "data": {
            **{name: job[name] for name in ("id", "user", "kind", "state", "message", "submitted", "started", "ended")},
            "images": [{"id": id, "url": f"/atelier/images/{id}"} for id in images],
        },
    }


class Calls:
    """The calls that are still to be made, and the secrets that sign them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def next(self, now: float) -> Call | None:
        """One that is due: what was not tried yet comes first, then the oldest."""
        rows = self._db.read("SELECT * FROM calls WHERE due<=? ORDER BY tries, made LIMIT 1", (now,))
        return _call(rows[0]) if rows else None

    def waiting(self, user: str | None) -> list[Call]:
        """All of that user, or of everyone, the oldest first."""
        where, values = ("", ()) if user is None else ("WHERE user=?", (user,))
        return [_call(row) for row in self._db.read(f"SELECT * FROM calls {where} ORDER BY made", values)]

    def drop(self, call: Call) -> None:
        """It was made, or never will be."""
        self._db.write("DELETE FROM calls WHERE id=?", (call.id,))

    def delay(self, call: Call, due: float, trouble: str) -> None:
        """It did not come through: once more then; what else goes to that address waits as long."""
        with self._db.change() as db:
            db.execute("UPDATE calls SET tries=tries+1, trouble=? WHERE id=?", (trouble, call.id))
            db.execute("UPDATE calls SET due=MAX(due, ?) WHERE url=?", (due, call.url))

    def secret(self, user: str) -> str:
        """What signs that user's calls; made at its first use."""
        with self._db.change() as db:
            made = (user, _made())
            db.execute("INSERT OR IGNORE INTO webhook_secrets (user, secret) VALUES (?,?)", made)
            return db.execute("SELECT secret FROM webhook_secrets WHERE user=?", (user,)).fetchone()["secret"]

    def renew_secret(self, user: str) -> str:
        """Another one from now on."""
        self._db.write("INSERT OR REPLACE INTO webhook_secrets (user, secret) VALUES (?,?)", (user, _made()))
        return self.secret(user)

    def hook_of(self, job_id: str) -> Hook | None:
        """The address that the job's request brought."""
        rows = self._db.read("SELECT url, user, form FROM hooks WHERE job=? AND form=1", (job_id,))
        return Hook(url=rows[0]["url"], user=rows[0]["user"], form=True) if rows else None


def forget_user(db: sqlite3.Connection, user: str) -> None:
    """Nobody of that name is told of anything any more."""
    for table in ("hooks", "calls", "webhook_secrets"):
        db.execute(f"DELETE FROM {table} WHERE user=? COLLATE NOCASE", (user,))


def _made() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def _call(row: sqlite3.Row) -> Call:
    values: dict[str, Any] = dict(row)
    return Call(**{**values, "form": bool(row["form"])})
