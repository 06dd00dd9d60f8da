"""The queue as the page and the API use it: submit, watch, interrupt; and the worker that runs the jobs."""

import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from modules.core.errors import AtelierError, EngineDied, InputError, NotFound
from modules.core.faults import fault
from modules.core.files import remove_leftovers
from modules.core.paths import Paths
from modules.core.policy import HOME, Policy
from modules.core.settings import Settings, SettingsFile
from modules.core.user import User
from modules.jobs.admission import Admission, Known
from modules.jobs.calls import Hook
from modules.jobs.desk import Desk
from modules.jobs.errands import Errands
from modules.jobs.executors.base import Cancel, Executor, Wish
from modules.jobs.fairness import check_room, check_taken
from modules.jobs.figures import Figures
from modules.jobs.grids import with_grid
from modules.jobs.history import PromptHistory
from modules.jobs.keys import Key, check_id
from modules.jobs.live import Bell, Live
from modules.jobs.meaning import MeaningSearch
from modules.jobs.orders import order_of, settings_of
from modules.jobs.queue import Queue
from modules.jobs.scripts import shown
from modules.jobs.store import ENDED, Image, Job, JobStore, Ticket
from modules.jobs.tidy import Tidy
from modules.jobs.turns import Turns
from modules.jobs.webhooks import Webhooks
from modules.jobs.writer import Writer, album_of, outputs_of
from modules.library.checkpoints import Checkpoints
from modules.library.library import Library
from modules.library.meaning_files import MeaningFiles
from modules.requests.catalogue import Catalogue, keep_catalogue, read_catalogue
from modules.requests.events import (
    FIRST_MAP,
    CopyReady,
    Done,
    Event,
    Failed,
    ImageReady,
    MapReady,
    Warned,
)
from modules.requests.kinds import Request

log = logging.getLogger(__name__)

MAX_TRIES = 2


class JobService:
    """Owns the job store, the writer, the executor and the worker thread. All methods may be called from any thread."""

    def __init__(
        self,
        *,
        paths: Paths,
        settings: SettingsFile,
        checkpoints: Checkpoints,
        executor: Executor,
        library: Library | None = None,
        policy: Policy = HOME,
        local_webhooks: bool = False,
    ) -> None:
        self.policy = policy
        self.paths = paths
        self.settings = settings
        self.checkpoints = checkpoints
        known = Known(paths, checkpoints)
        self.files, self.detectors, self.controls = known.files, known.detectors, known.controls
        self.wildcards, self.styles, self.extras = known.wildcards, known.styles, known.extras
        self.admission = Admission(known, settings, lambda: self.policy, lambda: self.catalogue)
        self.library = library or Library(paths, hashing=False)
        self.catalogue = read_catalogue(paths.cache / "catalogue.json")
        self.store = JobStore(paths.jobs)
        self.prompts = PromptHistory(paths.jobs)
        self.bell = Bell()
        self.errands = Errands(self.bell.ring)
        self.figures = Figures()
        self.engine_ready = False
        self.on_ready: Callable[[], None] = lambda: None
        self.album = album_of(paths, settings)
        self.meaning = MeaningSearch(self.album, MeaningFiles(paths), self.errands.ask, self._free)
        self.webhooks = Webhooks(self.store, allow_local=local_webhooks)
        self._executor = executor
        self._live: Live | None = None
        self._cancel = Cancel()
        self._lock = threading.Lock()
        self.queue = Queue(
            self.store,
            self._lock,
            check=self.admission.settings_for,
            count=self.admission.counted,
            ring=self.bell.ring,
            room=lambda user: check_taken(self.store.tickets(), user, self.policy, self.paths.data),
        )
        self._skipped: tuple[str, int] | None = None
        self._writer = Writer(paths, self.store, self.album, self.queue.full)
        self._tidy = Tidy(paths, self.store, settings)
        self._turns = Turns(self.store, self.queue.full)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)

    def start(self) -> None:
        """Take up what an earlier run left, start the engine and the worker."""
        interrupted = [job for job in self.store.unfinished() if job.state == "running"]
        for job in interrupted:
            self._retry_or_park(job, "The program ended while it worked on this job.")
        if interrupted:
            for folder in (self.paths.cache, *outputs_of(self.paths, interrupted)):
                remove_leftovers(folder)
        self.queue.forever.take_up()
        self._tidy.look()
        self.library.hold("engine")  # which reads a checkpoint first of all
        self._executor.start(self._on_catalogue)
        self._thread.start()
        self.library.start()
        self.album.start()
        self.meaning.start()
        self.webhooks.start()

    def close(self) -> None:
        """Stop the worker and the engine; a running job stays in the store and goes on at the next start."""
        self._closing.set()
        self.errands.close()
        self._executor.close()
        self.bell.ring()
        if self._thread.is_alive():
            self._thread.join(10)
        self.library.close()
        self.meaning.close()
        self.album.close()
        self.webhooks.close()
        self.prompts.close()
        self.store.close()

    # -- for the page and the API --

    def submit(
        self,
        request: Request,
        user: str = "",
        job_id: str | None = None,
        key: Key | None = None,
        hook: Hook | None = None,
    ) -> Job:
        """Check the names in `request`, store the job and answer with it. Raises InputError, QueueFull, StorageError.

        A `key` that the user has sent with this request before answers with the job of then. `hook`: an address that is told of it.
        """
        if key and (job := self.store.keyed(user, key)):
            return job
        request = self.admission.counted(request)
        settings = self.admission.settings_for(request)
        check_id(job_id)
        wanted = getattr(request, "seed", 0)
        seed = wanted if wanted >= 0 else random.SystemRandom().randrange(2**32)
        with self._lock:
            if key and (job := self.store.keyed(user, key)):
                return job
            if job_id is not None and self.store.get(job_id):
                raise InputError(
                    "force_task_id", f'force_task_id "{job_id}" is taken by an earlier job. Choose another, or none.'
                )
            check_room(self.store.tickets(), user, self.policy)
            fault("job.accepted")
            kept = {"seed": seed, "options": settings.flat(), "job_id": job_id, "key": key, "hook": hook}
            job = self.store.add(user=user, request=request, **kept)
        fault("job.stored")
        self.bell.ring()
        return job

    def change_options(self, options: Mapping[str, Any]) -> Settings:
        """Set options for all later jobs, all of them or none. Raises InputError, ModelFileError, StorageError."""
        return self.settings.update(self.admission.checked(options))

    def processes(self) -> list[int]:
        """The ids of this process and the engine's."""
        return [pid for pid in (os.getpid(), self._executor.pid) if pid is not None]

    def _free(self) -> bool:
        """Whether the engine has nothing else to do than to look at the gallery's pictures."""
        return self.engine_ready and self.settings.current.gallery.gallery_by_meaning and not self.store.tickets()

    @property
    def engine_runs(self) -> bool:
        """Whether there is an engine process, ready or not."""
        return self._executor.pid is not None

    def device_memory(self) -> dict[str, Any] | None:
        """The GPU's memory when the last job ended, in A1111's figures; None without one."""
        return self._executor.memory

    def desk(self, user: User) -> Desk:
        """What that user may see and do: everything that comes from a page or a client goes through it."""
        return Desk(self, user)

    def job(self, job_id: str) -> Job:
        """The job of that id; raises NotFound."""
        job = self.store.get(job_id)
        if job is None:
            raise NotFound(f'There is no job "{job_id[:40]}". Look in the queue for those there are.')
        return job

    def live(self, job_id: str | None = None) -> Live | None:
        """What runs now, if it is that job (or whatever it is)."""
        live = self._live
        return live if live and job_id in (None, live.job) else None

    def position(self, job_id: str) -> int:
        """How many jobs come before this one; 0 when it runs or is over."""
        waiting = [ticket.id for ticket in self._turns.now() if ticket.state == "queued"]
        return waiting.index(job_id) + (self._live is not None) if job_id in waiting else 0

    def in_order(self, wanted: Callable[[Ticket], bool] = lambda _: True) -> list[Job]:
        """The running job, then those that wait as they will be taken; those of them that are wanted."""
        jobs = self.store.some([ticket.id for ticket in self._turns.now() if wanted(ticket)])
        return [job for job in jobs if job.state not in ENDED]

    def ask(self, wish: Wish, job_id: str | None = None) -> None:
        """Stop or skip that job, or the running one; one that still waits and is to be stopped is taken out of the queue."""
        with self._lock:
            live = self._live
            if live and job_id in (None, live.job):
                if wish == "skip":
                    self._skipped = live.job, live.progress.batch if live.progress else 0
                self._cancel.ask(wish)
                self.bell.ring()
                return
            job = self.store.get(job_id) if job_id else None
            if job and job.state == "queued" and wish != "skip":
                self.store.end(job.id, "stopped", message="Taken out of the queue.")
        self.bell.ring()

    def wishes(self) -> set[Wish]:
        """What was asked of the running job and is still to happen."""
        live = self._live
        found: set[Wish] = set()
        if live and self._cancel.ending:
            found.add("interrupt" if self._cancel.interrupted else "finish")
        if live and self._skipped == (live.job, live.progress.batch if live.progress else 0):
            found.add("skip")
        return found

    def images(self, job_id: str) -> list[Image]:
        """The pictures of that job so far, its grids first, without those that do not belong to its results."""
        job = self.store.get(job_id)
        return shown(self.store.images(job_id), job.info.get("hidden", ()) if job else ())

    async def watch(self, job_id: str, every: float = 5.0) -> AsyncIterator[Job]:
        """The job at every change (and every so many seconds), until it is over; the last one is over."""
        seen = self.bell.count
        while True:
            job = self.job(job_id)
            yield job
            if job.state in ENDED or self._closing.is_set():
                return
            seen = await self.bell.wait_async(seen, every, job_id)

    def wait(self, job_id: str, timeout: float | None = None) -> Job:
        """Block until the job is over (or `timeout` seconds passed) and return it."""
        end = time.monotonic() + timeout if timeout is not None else None
        seen = self.bell.count
        while (job := self.job(job_id)).state not in ENDED and not self._closing.is_set():
            left = end - time.monotonic() if end is not None else 60.0
            if left <= 0:
                break
            seen = self.bell.wait(seen, left)
        return job

    # -- the worker --

    def _work(self) -> None:
        while not self._closing.is_set():
            seen = self.bell.count
            try:
                self._tidy.look()
                self.errands.run(self._executor, self.settings.current)
                job = self._next()
                if job:
                    self._run(job)
                    continue
                getattr(self._executor, "poll", lambda: None)()
            except Exception:
                if not self._closing.is_set():
                    log.exception("the worker goes on after an error")
                    self._closing.wait(5)
            self.bell.wait(seen, 0.5)

    def _next(self) -> Job | None:
        tickets = self.store.tickets()
        for ticket in tickets:
            if ticket.state == "running":  # nothing runs just now: its end could not be written
                self._retry_or_park(self.job(ticket.id), "The job store could not be written.")
        first = self._turns.next(tickets)
        return self.store.get(first.id) if first else None

    def _run(self, job: Job) -> None:
        with self._lock:
            if self.job(job.id).state != "queued":
                return
            self._turns.served(job.user)
            self._cancel = Cancel()
            self.store.start(job.id)
            fault("job.started")
            self._live = Live(job=job.id, started=time.time())
        self.bell.ring()
        try:
            with self.library.paused():
                self._consume(job)
            self._writer.drop_work(job.id)
        except EngineDied as error:
            if self._closing.is_set():
                self.store.requeue(job.id, forget_try=True)
            else:
                log.warning("%s", error.message)
                self._retry_or_park(self.job(job.id), error.message)
        except AtelierError as error:
            self.store.end(job.id, "failed", message=error.message, info={"kind": type(error).__name__, "field": None})
        except Exception as error:
            log.exception("job %s", job.id)
            self.store.end(
                job.id, "failed", message=f"The program made a mistake: {type(error).__name__}. The log says more."
            )
        finally:
            self._live = None
            self.figures.note_end(self.store, job.id)
            self.errands.note_use()
            self.bell.ring()
            self.queue.forever.note_end(job.id)

    def _consume(self, job: Job) -> None:
        settings = settings_of(job)
        order = order_of(job, settings, self.store)
        stall = settings.system.engine_stall_seconds
        with contextlib.closing(self._executor.run(order, self._cancel, stall_seconds=stall)) as events:
            self._take(events, job, settings)

    def _take(self, events: Iterator[Event], job: Job, settings: Settings) -> None:
        maps: dict[bytes, int] = {}  # each is shown once, however often the job went by it
        for event in events:
            if isinstance(event, MapReady):
                if event.data not in maps:
                    maps[event.data] = FIRST_MAP + len(maps)
                    if trouble := self._writer.save_map(job, settings, event, maps[event.data]):
                        self._note(Warned(message=trouble))
            elif isinstance(event, ImageReady | CopyReady):
                if trouble := self._writer.write(job, settings, event):
                    self._note(Warned(message=trouble))
            elif isinstance(event, Done):
                event, trouble = with_grid(event, job, settings, self.store, self._writer)
                if trouble:
                    self._note(Warned(message=trouble))
                fault("job.end")
                warnings = self._live.warnings if self._live else ()
                self.store.end(
                    job.id, "stopped" if event.stopped else "done", message=" ".join(warnings) or None, info=event.info
                )
            elif isinstance(event, Failed):
                self.store.end(job.id, "failed", message=event.message, info={"kind": event.kind, "field": event.field})
            else:
                self._note(event)
            self.bell.ring(job.id)

    def _note(self, event) -> None:
        if self._live:
            self._live = self._live.after(event)

    def _retry_or_park(self, job: Job, reason: str) -> None:
        self.files.remove_leftovers(job.id)
        if self._cancel.ending:
            self.store.end(job.id, "stopped", message=reason)
        elif job.tries < MAX_TRIES:
            self.store.requeue(job.id)
        else:
            self.store.end(
                job.id,
                "failed",
                message=f"{reason} It was tried {job.tries} times. Try smaller sizes, or look into the log.",
            )

    def _on_catalogue(self, catalogue: Catalogue) -> None:
        self.engine_ready = True
        self.on_ready()
        self.figures.note_engine()
        self.library.release("engine")
        if catalogue != self.catalogue:
            self.catalogue = catalogue
            with contextlib.suppress(AtelierError):
                keep_catalogue(catalogue, self.paths.cache / "catalogue.json")
        self.bell.ring()
