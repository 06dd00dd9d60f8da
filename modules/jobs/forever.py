"""Jobs that are drawn over and over until somebody stops that: on the server, whether a page looks on or not.

A page with "Generate forever" goes on by itself, with what stands in its form; while it is hidden, closed or asleep the server does.
"""

import logging
from collections.abc import Callable

from modules.core.errors import AtelierError
from modules.jobs.store import ENDED, Job, JobStore

log = logging.getLogger(__name__)


class Forever:
    """Follows jobs with others. `again` stores a job like one that is done; `check` raises where that user's may not be taken now."""

    def __init__(self, store: JobStore, again: Callable[[str], Job], check: Callable[[str], None]) -> None:
        self._store = store
        self._again = again
        self._check = check

    def take_up(self) -> None:
        """What ended in the moment in which the program did."""
        for job_id in self._store.chains.open():
            self.note_end(job_id)

    def note_end(self, job_id: str) -> None:
        """Another one follows a job that is done. One that failed, or was stopped, was the last."""
        if not self._store.chains.holds(job_id):
            return
        job = self._store.get(job_id)
        if job is None:  # it was taken off the list meanwhile
            self._store.chains.end(job_id)
            return
        if job.state not in ENDED:
            return
        try:
            if job.state == "done":
                self._check(job.user)
                self._store.chains.pass_on(job_id, self._again(job_id).id)
                return
        except AtelierError as error:
            log.warning("Job %s is not drawn once more: %s", job_id, error.message)
        self._store.chains.end(job_id)
