"""What jobs are about, read from their rows once: a queue is listed often, and every user's page asks for it."""

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from modules.core.database import Database
from modules.requests.kinds import KINDS

MOST = 500  # jobs; one takes about 10 kB
MOST_OPTIONS = 20  # snapshots of the settings, which most jobs have in common; one takes about 50 kB


@dataclass(frozen=True, kw_only=True)
class Body:
    """The parts of a job that never change while it waits, unless it is edited. Not to be changed: all who read the job share them."""

    request: Any
    options: dict[str, Any]
    seed: int


class Bodies:
    """Those of the jobs looked at last. Safe to use from several threads."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Body] = OrderedDict()
        self._options: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._changes = 0

    def of(self, job_id: str) -> Body:
        """That job's. Raises ValueError, TypeError, KeyError, InputError for one that cannot be read, or is gone."""
        with self._lock:
            if body := self._known.get(job_id):
                self._known.move_to_end(job_id)
                return body
            changes = self._changes
        rows = self._db.read("SELECT kind, request, options, seed FROM jobs WHERE id=?", (job_id,))
        if not rows:
            raise KeyError(job_id)
        row = rows[0]
        request = KINDS[row["kind"]].model_validate_json(row["request"])
        body = Body(request=request, options=self._settings(row["options"]), seed=row["seed"])
        with self._lock:
            if changes == self._changes:  # else it may have been read before the change
                self._known[job_id] = body
                _shorten(self._known, MOST)
        return body

    def forget(self, job_id: str) -> None:
        """That job was changed, or is gone: to be told once it is so in the database."""
        with self._lock:
            self._changes += 1
            self._known.pop(job_id, None)

    def _settings(self, text: str) -> dict[str, Any]:
        with self._lock:
            found = self._options.get(text)
        if found is None:
            found = json.loads(text)
            with self._lock:
                self._options[text] = found
                _shorten(self._options, MOST_OPTIONS)
        return found


def _shorten(known: OrderedDict[str, Any], most: int) -> None:
    while len(known) > most:
        known.popitem(last=False)
