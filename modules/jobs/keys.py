"""Idempotency keys: what a client calls a request of its own, so that sending it twice gives one job."""

import hashlib
import re
import sqlite3
import time
from dataclasses import dataclass

from modules.core.errors import InputError, short

FIELD = "Idempotency-Key"
JOB_ID = re.compile(r"[A-Za-z0-9_()\-]{1,100}")
VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")
SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    user TEXT NOT NULL COLLATE NOCASE, key TEXT NOT NULL, digest TEXT NOT NULL, job TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    made REAL NOT NULL, PRIMARY KEY (user, key)) WITHOUT ROWID;
"""


@dataclass(frozen=True, kw_only=True)
class Key:
    """`digest`: of the route and the body; `seconds`: how long the key is remembered."""

    text: str
    digest: str
    seconds: float


def check_id(job_id: str | None) -> None:
    """Raise InputError for an id that a request may not choose."""
    if job_id is not None and not JOB_ID.fullmatch(job_id):
        raise InputError(
            "force_task_id",
            f"force_task_id is {short(job_id)}: it must be 1 to 100 letters, digits, brackets, - or _.",
        )


def make_key(text: str, route: str, body: str, hours: float) -> Key:
    """The key in a header; raises InputError for what is none."""
    if not VISIBLE.fullmatch(text):
        raise InputError(FIELD, f"{FIELD} is {short(text)}: it must be 1 to 255 visible ASCII characters. Send a UUID.")
    digest = hashlib.sha256(f"{route}\n{body}".encode()).hexdigest()
    return Key(text=text, digest=digest, seconds=hours * 3600)


def find_key(db: sqlite3.Connection, user: str, key: Key) -> str | None:
    """The job that the key stands for; raises InputError if that was asked for by another body. Old keys are forgotten."""
    db.execute("DELETE FROM keys WHERE made<?", (time.time() - key.seconds,))
    row = db.execute("SELECT digest, job FROM keys WHERE user=? AND key=?", (user, key.text)).fetchone()
    if row is None:
        return None
    if row["digest"] != key.digest:
        raise InputError(
            FIELD,
            f"{FIELD} {short(key.text)} was sent before with another body or route. Choose a new one for each request.",
        )
    return row["job"]


def keep_key(db: sqlite3.Connection, user: str, key: Key, job_id: str) -> None:
    """From now on the key stands for that job; in the transaction that stores the job."""
    row = (user, key.text, key.digest, job_id, time.time())
    db.execute("INSERT INTO keys (user, key, digest, job, made) VALUES (?,?,?,?,?)", row)
