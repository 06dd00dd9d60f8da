"""The prompts that each user has submitted, in the database of jobs: every pair once, newest first."""

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from modules.core.database import Database
from modules.core.errors import NotFound, StorageError
from modules.core.faults import fault

KEPT = 1000
"""Pairs of one user, those that are pinned aside; the oldest go."""

PINNED = 1000
SCHEMA = """
CREATE TABLE IF NOT EXISTS prompts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL COLLATE NOCASE, prompt TEXT NOT NULL, negative_prompt TEXT NOT NULL,
    used REAL NOT NULL, times INTEGER NOT NULL DEFAULT 1, pinned INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS prompts_by_user ON prompts (user, pinned, used);
"""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A prompt and its negative prompt. `used`: when last, in seconds since 1970; `times`: how often."""

    id: int
    prompt: str
    negative_prompt: str
    used: float
    times: int
    pinned: bool


class PromptHistory:
    """Safe to use from several threads. All methods raise StorageError for a database that cannot be written."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, SCHEMA, "The prompt history", mends=False)  # the job store has done that

    def close(self) -> None:
        """Close the database; the history is of no use afterwards."""
        self._db.close()

    def add(
        self, user: str, prompt: str, negative_prompt: str, *, used: float | None = None, pinned: bool = False
    ) -> None:
        """Put a pair first; one that is there already moves. A pair without any text is none."""
        if not (prompt.strip() or negative_prompt.strip()):
            return
        at = time.time() if used is None else used
        with self._db.change() as db:
            fault("history.write")
            known = db.execute(
                "SELECT id FROM prompts WHERE user=? AND prompt=? AND negative_prompt=?",
                (user, prompt, negative_prompt),
            ).fetchone()
            if known:
                db.execute(
                    "UPDATE prompts SET used=?, times=times+1, pinned=MAX(pinned, ?) WHERE id=?",
                    (at, pinned, known["id"]),
                )
            else:
                row = (user, prompt, negative_prompt, at, pinned)
                db.execute("INSERT INTO prompts (user, prompt, negative_prompt, used, pinned) VALUES (?,?,?,?,?)", row)
            db.execute(
                "DELETE FROM prompts WHERE id IN (SELECT id FROM prompts WHERE user=? AND pinned=0 "
                "ORDER BY used DESC, id DESC LIMIT -1 OFFSET ?)",
                (user, KEPT),
            )  # fmt: skip

    def list(self, user: str, search: str = "") -> list[Pair]:
        """That user's pairs with all these words in either text: the pinned ones, then the others, newest first."""
        words = search.casefold().split()
        rows = self._db.read("SELECT * FROM prompts WHERE user=? ORDER BY pinned DESC, used DESC, id DESC", (user,))
        pairs = [_pair(row) for row in rows]
        return [
            pair for pair in pairs if all(word in f"{pair.prompt}\n{pair.negative_prompt}".casefold() for word in words)
        ]

    def pin(self, user: str, id: int, wish: bool) -> None:
        """Keep a pair whatever comes, or no longer. Raises NotFound, and StorageError for too many."""
        with self._db.change() as db:
            pinned = db.execute("SELECT count(*) FROM prompts WHERE user=? AND pinned=1", (user,)).fetchone()[0]
            if wish and pinned >= PINNED:
                raise StorageError(f"{PINNED} prompts are pinned already. Unpin one first.")
            changed = db.execute("UPDATE prompts SET pinned=? WHERE user=? AND id=?", (wish, user, id)).rowcount
        _check(changed)

    def delete(self, user: str, id: int) -> None:
        """Forget a pair. Raises NotFound."""
        with self._db.change() as db:
            changed = db.execute("DELETE FROM prompts WHERE user=? AND id=?", (user, id)).rowcount
        _check(changed)

    def clear(self, user: str, *, pinned: bool = False) -> None:
        """Forget what that user submitted; what is pinned only if it is said."""
        with self._db.change() as db:
            db.execute("DELETE FROM prompts WHERE user=? AND pinned <= ?", (user, pinned))


def _pair(row: sqlite3.Row) -> Pair:
    values = {name: row[name] for name in ("id", "prompt", "negative_prompt", "used", "times")}
    return Pair(**values, pinned=bool(row["pinned"]))


def _check(changed: int) -> None:
    if not changed:
        raise NotFound("This prompt is not in your history any more. Open the history again.")
