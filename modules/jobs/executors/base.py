"""The seam between the queue and whatever computes."""

import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, Literal, Protocol

from modules.requests.catalogue import Catalogue
from modules.requests.events import Event, Order

Wish = Literal["interrupt", "finish", "skip"]


class Cancel:
    """What the user wishes of a running job: to stop it, at once or when its batch in work is finished, or to skip to its next batch.
    Safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interrupted = False
        self._finishing = False
        self._skips = 0
        self._listener: Callable[[Wish], None] | None = None

    def ask(self, wish: Wish) -> None:
        """Note the wish and hand it on to the engine."""
        with self._lock:
            if wish == "interrupt":
                self._interrupted = True
            elif wish == "finish":
                self._finishing = True
            else:
                self._skips += 1
            listener = self._listener
        if listener:
            listener(wish)

    def listen(self, listener: Callable[[Wish], None] | None) -> None:
        """Call `listener` for every wish from now on, and at once for those that came before."""
        with self._lock:
            self._listener = listener
            pending: list[Wish] = []
            if self._skips:
                pending.append("skip")
            if self._finishing:
                pending.append("finish")
            if self._interrupted:
                pending.append("interrupt")
        if listener:
            for wish in pending:
                listener(wish)

    @property
    def interrupted(self) -> bool:
        """The whole job is to end at once."""
        return self._interrupted

    @property
    def ending(self) -> bool:
        """No further batch is to be begun."""
        return self.interrupted or self._finishing

    def take_skip(self) -> bool:
        """True once for any number of skips asked since the last call."""
        with self._lock:
            found, self._skips = self._skips > 0, 0
        return found


class Runner(Protocol):
    """What a builder gives: something that runs one order at a time; its `run` raises EngineDied when it can run no more."""

    @property
    def catalogue(self) -> Catalogue: ...

    def run(self, order: Order, cancel: Cancel) -> Iterator[Event]: ...

    def memory(self) -> dict[str, Any] | None: ...


class Executor(Protocol):
    """Runs orders. The last event of every run is Done or Failed, unless the engine dies: then EngineDied is raised.

    Closing what `run` returned before its end gives the order up: the engine is asked to stop it. `memory`: the device's when the last
    order ended, None without a GPU; `pid`: of a process of its own, if it has one.
    """

    memory: dict[str, Any] | None

    @property
    def pid(self) -> int | None: ...

    def start(self, on_catalogue: Callable[[Catalogue], None]) -> None: ...

    def run(self, order: Order, cancel: Cancel, *, stall_seconds: float) -> Generator[Event, None, None]: ...

    def close(self) -> None: ...
