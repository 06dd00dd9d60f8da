"""What is known of a job while it runs, for everyone who watches it."""

import asyncio
import threading
import time
from dataclasses import dataclass, field, replace

from modules.requests.events import Event, Loading, Preview, Progress, Warned


@dataclass(frozen=True, kw_only=True)
class Live:
    """A snapshot of the job in work. Times are `time.time()` seconds."""

    job: str
    started: float
    phase: str = "starting"
    progress: Progress | None = None
    preview: Preview | None = None
    preview_number: int = 0
    warnings: tuple[str, ...] = ()
    first_step: tuple[float, float] | None = field(default=None, repr=False)

    @property
    def fraction(self) -> float:
        """How much of the job is done, 0 to 1."""
        if self.progress is None:
            return 0.0
        p = self.progress
        return min((p.batch + p.step / p.steps) / p.batches, 1.0)

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the pace since the first step; None before the second."""
        if self.first_step is None or self.fraction <= self.first_step[1]:
            return None
        since, fraction = self.first_step
        return (time.time() - since) / (self.fraction - fraction) * (1 - self.fraction)

    def after(self, event: Event) -> "Live":
        """The snapshot once `event` has happened."""
        match event:
            case Loading():
                return replace(self, phase=f"loading {event.name}")
            case Progress():
                new = replace(self, phase=event.phase, progress=event)
                return new if self.first_step else replace(new, first_step=(time.time(), new.fraction))
            case Preview():
                return replace(self, preview=event, preview_number=self.preview_number + 1)
            case Warned():
                return replace(self, warnings=(*self.warnings, event.message))
            case _:
                return self


class Bell:
    """Wakes everyone who waits for a change: threads and coroutines alike."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0
        self._for_all = 0  # the count at the last ring that was not for one job
        self._for_one: dict[str, int] = {}  # since then, of jobs
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event, str]] = set()

    @property
    def count(self) -> int:
        """How often it has rung."""
        return self._count

    def ring(self, job: str | None = None) -> None:
        """Something has changed; of that job alone, if one is named."""
        with self._condition:
            self._count += 1
            if job is None:
                self._for_all = self._count
                self._for_one.clear()
            else:
                self._for_one[job] = self._count
            self._condition.notify_all()
            woken = {entry for entry in self._waiting if job in (None, entry[2])}
            self._waiting -= woken
        for loop, event, _ in woken:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def wait(self, seen: int, timeout: float) -> int:
        """Block until it has rung more than `seen` times or `timeout` seconds passed; the count now."""
        with self._condition:
            self._condition.wait_for(lambda: self._count > seen, timeout)
            return self._count

    async def wait_async(self, seen: int, timeout: float, job: str) -> int:
        """`wait` for coroutines, for what concerns that job."""
        event = asyncio.Event()
        entry = (asyncio.get_running_loop(), event, job)
        with self._condition:
            if max(self._for_all, self._for_one.get(job, 0)) > seen:
                return self._count
            self._waiting.add(entry)
        try:
            await asyncio.wait_for(event.wait(), timeout)
        except (TimeoutError, asyncio.TimeoutError):  # noqa: UP041  # two classes before Python 3.11
            pass
        finally:
            with self._condition:
                self._waiting.discard(entry)
        return self._count
