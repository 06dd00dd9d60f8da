"""Who comes next: round robin over users, each user's jobs in their order; jobs of a user who pauses, or whose disk is full, wait."""

from collections.abc import Sequence
from typing import TypeVar

from modules.jobs.full import FullDisks
from modules.jobs.store import Job, JobStore, Ticket

Waiting = TypeVar("Waiting", Job, Ticket)


class Turns:
    """Not safe by itself: the service asks it under its own lock or from its one worker."""

    def __init__(self, store: JobStore, full: FullDisks) -> None:
        self._store = store
        self._full = full
        self._served: dict[str, int] = {}
        self._now: tuple[object, list[Ticket]] = (None, [])

    def order(self, jobs: Sequence[Waiting]) -> list[Waiting]:
        """Those users first who waited longest, each of their jobs in order of submission; those of paused users last."""
        paused = self._waiting()
        turns: dict[str, int] = {}
        keyed = []
        for job in jobs:
            turn = turns[job.user] = turns.get(job.user, -1) + 1
            keyed.append((job.user in paused, turn, self._served.get(job.user, 0), job.number, job))
        return [entry[-1] for entry in sorted(keyed, key=lambda entry: entry[:-1])]

    def now(self) -> list[Ticket]:
        """What runs, then what waits in the order in which it will be taken. Safe to ask from any thread."""
        version = self._store.version, self._full.users()
        known, found = self._now
        if known != version:
            tickets = self._store.tickets()
            running = [ticket for ticket in tickets if ticket.state == "running"]
            found = [*running, *self.order([ticket for ticket in tickets if ticket.state == "queued"])]
            self._now = version, found
        return [*found]

    def next(self, jobs: Sequence[Waiting]) -> Waiting | None:
        """The job to run now, if there is one."""
        self._full.look()
        first = next(iter(self.order([job for job in jobs if job.state == "queued"])), None)
        return None if first is None or first.user in self._waiting() else first

    def _waiting(self) -> frozenset[str]:
        return self._store.paused() | self._full.users()

    def served(self, user: str) -> None:
        """A job of that user runs."""
        self._served[user] = max(self._served.values(), default=0) + 1
