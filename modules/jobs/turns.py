"""Who comes next: round robin over users, each user's jobs in their order; jobs of a user who pauses wait."""

from collections.abc import Sequence
from typing import TypeVar

from modules.jobs.store import Job, JobStore, Ticket

Waiting = TypeVar("Waiting", Job, Ticket)


class Turns:
    """Not safe by itself: the service asks it under its own lock or from its one worker."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._served: dict[str, int] = {}

    def order(self, jobs: Sequence[Waiting]) -> list[Waiting]:
        """Those users first who waited longest, each of their jobs in order of submission; those of paused users last."""
        paused = self._store.paused()
        turns: dict[str, int] = {}
        keyed = []
        for job in jobs:
            turn = turns[job.user] = turns.get(job.user, -1) + 1
            keyed.append((job.user in paused, turn, self._served.get(job.user, 0), job.number, job))
        return [entry[-1] for entry in sorted(keyed, key=lambda entry: entry[:-1])]

    def next(self, jobs: Sequence[Waiting]) -> Waiting | None:
        """The job to run now, if there is one."""
        first = next(iter(self.order([job for job in jobs if job.state == "queued"])), None)
        return None if first is None or first.user in self._store.paused() else first

    def served(self, user: str) -> None:
        """A job of that user runs."""
        self._served[user] = max(self._served.values(), default=0) + 1
