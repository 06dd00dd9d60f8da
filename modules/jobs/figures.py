"""What this run of the program has done so far, in numbers: pictures, their seconds, the starts of the engine."""

import contextlib
import threading
from collections import Counter
from dataclasses import dataclass, field

from modules.core.errors import AtelierError
from modules.jobs.store import ENDED, JobStore
from modules.requests.events import is_picture

BOUNDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300, 900)
"""Upper bounds in seconds of a picture."""


@dataclass
class Times:
    """`counts`: pictures that took at most each of BOUNDS, not more than the one before; then those that took longer."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0


class Figures:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._starts = 0
        self._ended: Counter[tuple[str, str]] = Counter()
        self._times: dict[str, Times] = {}

    def note_engine(self) -> None:
        """The engine has come up."""
        with self._lock:
            self._starts += 1

    def note_end(self, store: JobStore, job_id: str) -> None:
        """What became of that job, if it is over."""
        with contextlib.suppress(AtelierError):
            job = store.get(job_id)
            if job and job.state in ENDED and job.started and job.ended:
                pictures = sum(is_picture(image.position) for image in store.images(job_id))
                self.note_job(job.kind, job.state, max(job.ended - job.started, 0.0), pictures)

    def note_job(self, kind: str, state: str, seconds: float, pictures: int) -> None:
        """A job of that kind is over; it made so many pictures in that time."""
        with self._lock:
            self._ended[kind, state] += 1
            if pictures:
                times = self._times.setdefault(kind, Times())
                each = seconds / pictures
                place = next((i for i, bound in enumerate(BOUNDS) if each <= bound), len(BOUNDS))
                times.counts[place] += pictures
                times.seconds += seconds

    @property
    def restarts(self) -> int:
        """How often the engine came up again."""
        return max(self._starts - 1, 0)

    def ended(self) -> dict[tuple[str, str], int]:
        """(kind, state) -> jobs that ended so."""
        with self._lock:
            return dict(self._ended)

    def times(self) -> dict[str, Times]:
        """Kind -> how long its pictures took."""
        with self._lock:
            return {kind: Times([*times.counts], times.seconds) for kind, times in self._times.items()}
