"""What users do with jobs that wait or are over: another order, other values, a pause, once more."""

import random
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from pydantic import ValidationError

from modules.core.errors import InputError, NotFound, short
from modules.core.settings import Settings
from modules.core.validation import input_error
from modules.jobs.forever import Forever
from modules.jobs.full import FullDisks
from modules.jobs.store import ENDED, Job, JobStore

EDITABLE = (
    *("prompt", "negative_prompt", "steps", "cfg_scale", "seed", "width", "height", "n_iter", "batch_size"),
    *("sampler_name", "scheduler", "denoising_strength"),
)
"""The fields of a waiting job that may be changed."""


class Queue:
    """Changes under the service's own lock, so that no job starts in the middle of one. `check` raises InputError for a request with names
    that are not here; `count` gives it as many pictures as its templates have combinations; `ring` tells everyone of a change; `room`
    raises where no more is taken from a user."""

    def __init__(
        self,
        store: JobStore,
        lock: Lock,
        *,
        check: Callable[[Any], Settings],
        count: Callable[[Any], Any],
        ring: Callable[[], None],
        room: Callable[[str], None],
    ) -> None:
        self._store = store
        self._lock = lock
        self._check = check
        self._count = count
        self._ring = ring
        self.forever = Forever(store, self.again, room)
        self.full = FullDisks(ring)

    def move(self, job_id: str, place: int) -> None:
        """Put a waiting job at that place (0 is the first) among its user's waiting ones; past the end is the last."""
        with self._lock:
            job = self._waiting(job_id)
            own = [each for each in self._store.unfinished() if each.state == "queued" and each.user == job.user]
            ids = [each.id for each in own if each.id != job_id]
            ids.insert(min(max(place, 0), len(ids)), job_id)
            self._store.reorder(dict(zip(ids, (each.number for each in own), strict=True)))
        self._ring()

    def edit(self, job_id: str, changes: Mapping[str, Any]) -> None:
        """Change fields of a job that still waits, all or none. Raises InputError."""
        with self._lock:
            job = self._waiting(job_id)
            known = self.editable(job)
            if self._store.images(job_id):
                raise InputError(
                    "job", f'Job "{job.id}" has pictures already, which would not be like the others. Send another.'
                )
            for name in changes:
                if name not in known:
                    which = f"Change {', '.join(known)}." if known else "Take it out of the queue and send another."
                    raise InputError(name, f"{short(name)} of a {job.kind} job cannot be changed. {which}")
            request = self._store.whole_request(job)
            values = {name: getattr(request, name) for name in type(request).model_fields} | dict(changes)
            try:
                request = type(request).model_validate(values)
            except ValidationError as error:
                raise input_error(error) from error
            if not {"n_iter", "batch_size"} & changes.keys():
                request = self._count(request)
            self._check(request)
            wanted = getattr(request, "seed", job.seed)
            kept = (
                wanted if wanted >= 0 else job.seed if "seed" not in changes else random.SystemRandom().randrange(2**32)
            )
            self._store.replace_request(job_id, request, kept)
        self._ring()

    @staticmethod
    def editable(job: Job) -> list[str]:
        """The fields of that job that `edit` takes."""
        return [name for name in EDITABLE if name in type(job.request).model_fields]

    def again(self, job_id: str) -> Job:
        """A job that failed or was stopped goes on where it ended, at the end of the queue; one that is done gives a new job with the same
        request (and another seed if that was left to chance)."""
        with self._lock:
            job = self._known(job_id)
            if job.state not in ENDED:
                raise InputError(
                    "job", f'Job "{job.id}" is not over yet: it is {job.state}. Wait for it or interrupt it.'
                )
            request = self._store.whole_request(job)
            self._check(request)
            if job.state != "done":
                self._store.revive(job_id)
            else:
                wanted = getattr(request, "seed", 0)
                seed = wanted if wanted >= 0 else random.SystemRandom().randrange(2**32)
                hook = self._store.calls.hook_of(job_id)
                added = self._store.add(user=job.user, request=request, seed=seed, options=job.options, hook=hook)
                job_id = added.id
        self._ring()
        return self._known(job_id)

    def pause(self, user: str, wish: bool) -> None:
        """While a user's jobs are paused, none of them is begun; what runs goes on. It stays so over a restart. They go on with a full disk
        too."""
        if not wish:
            self.full.go_on(user)
        self._store.set_paused(user, wish)
        self._ring()

    def _known(self, job_id: str) -> Job:
        job = self._store.get(job_id)
        if job is None:
            raise NotFound(f"There is no job {short(job_id)}. Look in the queue for those there are.")
        return job

    def _waiting(self, job_id: str) -> Job:
        job = self._known(job_id)
        if job.state != "queued":
            raise InputError("job", f'Job "{job.id}" does not wait any more: it is {job.state}.')
        return job
