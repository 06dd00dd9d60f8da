"""What the engine is asked to do between two jobs, and when it has had nothing to do for long."""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from modules.core.errors import QueueFull
from modules.core.settings import Settings
from modules.jobs.executors.base import Cancel, Executor
from modules.requests.events import Done, Failed, Order
from modules.requests.models import UnloadModels

MAX_WAITING = 8  # each keeps a thread of the server until the job in work is over

log = logging.getLogger(__name__)


class Errands:
    """Asked from any thread, done by the worker's. `ring` wakes the worker; `clock` tells seconds."""

    def __init__(self, ring: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._ring = ring
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Any, Future[Done | Failed]]] = deque()
        self._closed = False
        self._used: float | None = clock()  # None: nothing is loaded

    def ask(self, request: Any) -> Done | Failed:
        """Wait until the engine has done it, after the job in work. Raises EngineDied, or QueueFull when too many wait or the program stops."""
        future: Future[Done | Failed] = Future()
        with self._lock:
            if self._closed:
                raise QueueFull("The server is being stopped. Ask again when it has started.")
            if len(self._waiting) >= MAX_WAITING:
                raise QueueFull("The engine is asked for too much besides its jobs just now. Ask again in a moment.")
            self._waiting.append((request, future))
        self._ring()
        return future.result()

    def note_use(self) -> None:
        """A job has ended: its model is loaded."""
        self._used = self._clock()

    def run(self, executor: Executor, settings: Settings) -> None:
        """Do what waits; unload the models if no job has come for as long as the settings say. Raises nothing."""
        while self._waiting:
            request, future = self._waiting.popleft()
            try:
                future.set_result(self._done(request, executor, settings))
            except Exception as error:  # who asked hears of it
                future.set_exception(error)
        idle = settings.stable_diffusion.unload_idle_minutes * 60
        if idle and self._used is not None and self._clock() - self._used >= idle:
            log.info("The models are unloaded: no job has come for %d minutes.", idle // 60)
            try:
                self._done(UnloadModels(), executor, settings)
            except Exception as error:  # an engine that is gone holds no models
                log.warning("%s", error)
                self._used = None

    def close(self) -> None:
        """Nothing is done any more; those who wait are told so."""
        with self._lock:
            self._closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
        for _, future in waiting:
            future.set_exception(QueueFull("The server is being stopped. Ask again when it has started."))

    def _done(self, request: Any, executor: Executor, settings: Settings) -> Done | Failed:
        self._used = None if isinstance(request, UnloadModels) else self._clock()
        order = Order(job="", request=request, seed=0, options=settings.flat())
        stall = settings.system.engine_stall_seconds
        with contextlib.closing(executor.run(order, Cancel(), stall_seconds=stall)) as events:
            return next(event for event in events if isinstance(event, Done | Failed))
