"""Runs jobs in an engine process that may die without taking anything along.

Parent and child talk over one duplex pipe: (tag, payload) pairs.
    parent -> child   ("run", (number, Order)) · ("wish", (number, "interrupt" | "finish" | "skip"))
    child -> parent   ("catalogue", Catalogue) · ("event", (number, Event)) · ("unbuilt", sentence) · ("died", sentence)
                      ("memory", figures of the device or None), after each order
Orders are numbered, so that what is left of one that was given up is never taken for the next one's.
"""

import contextlib
import faulthandler
import importlib
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Generator
from multiprocessing.connection import Connection
from typing import Any

from modules.core.errors import EngineDied
from modules.core.faults import fault
from modules.jobs.executors.base import Cancel
from modules.jobs.executors.shortage import memory_kills
from modules.requests.catalogue import Catalogue
from modules.requests.events import Done, Event, Failed, Order

DUMP_SECONDS = 0.5
"""For a process that hangs to write down where."""


NICENESS = 5
"""The page comes first where both want the same cores: it needs little of them, but at once."""


class ProcessExecutor:
    """`builder` names a function as "package.module:function"; `arguments` are handed to it in the child."""

    def __init__(self, builder: str, arguments: dict[str, Any]) -> None:
        self._builder = builder
        self._arguments = arguments
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._pipe: Connection | None = None
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._on_catalogue: Callable[[Catalogue], None] | None = None
        self._number = 0
        self._healthy = False
        self._closed = False
        self._memory_kills = 0
        self.memory: dict[str, Any] | None = None
        """The device's memory when the last order ended, in A1111's figures; None without a GPU."""

    @property
    def pid(self) -> int | None:
        """The engine process's id while it runs."""
        process = self._process
        return process.pid if process and process.is_alive() else None

    def start(self, on_catalogue: Callable[[Catalogue], None]) -> None:
        """Spawn the engine and return at once; its catalogue is handed on when it comes."""
        self._on_catalogue = on_catalogue
        self._ensure()

    def run(self, order: Order, cancel: Cancel, *, stall_seconds: float = 0) -> Generator[Event, None, None]:
        """Events until Done or Failed; raises EngineDied when the process ends or says nothing for `stall_seconds`."""
        pipe = self._ensure()
        self._number = number = self._number + 1
        over = False
        try:
            self._send(pipe, "run", (number, order))
            cancel.listen(lambda wish: self._wish(pipe, number, wish))
            while not over:
                if not pipe.poll(stall_seconds or None):
                    self._dump()
                    self._kill()
                    raise EngineDied(f"The engine gave no sign of life for {stall_seconds:.0f} s and was stopped.")
                tag, payload = pipe.recv()
                if tag == "catalogue":
                    self._publish(payload)
                elif tag == "memory":
                    self.memory = payload
                elif tag in ("unbuilt", "died"):
                    self._kill()
                    raise EngineDied(payload)
                elif payload[0] == number:
                    over = isinstance(payload[1], Done | Failed)
                    yield payload[1]
        except (EOFError, OSError, TypeError) as error:
            if isinstance(error, TypeError) and not pipe.closed:
                raise
            over = True  # a pipe that another thread closes in the middle of a read raises TypeError
            code = self._kill()
            raise EngineDied(_ending(code, short=memory_kills() > self._memory_kills)) from error
        finally:
            cancel.listen(None)
            if not over:
                self._wish(pipe, number, "interrupt")

    def poll(self) -> None:
        """Between jobs: take what the engine says on its own; start it again if it has died.

        One that never got as far as its catalogue is left alone until the next job asks for it.
        """
        pipe = self._pipe
        try:
            while pipe and pipe.poll(0):
                tag, payload = pipe.recv()
                if tag == "catalogue":
                    self._publish(payload)
                elif tag == "memory":
                    self.memory = payload
        except (EOFError, OSError):
            healthy = self._healthy
            self._kill()
            if healthy:
                self._ensure()

    def close(self) -> None:
        """End the engine process."""
        self._closed = True
        self._kill()

    def _ensure(self) -> Connection:
        with self._lock:
            if self._closed:
                raise EngineDied("The engine is being shut down.")
            if self._pipe is None or not self._process.is_alive():
                self._pipe, theirs = self._context.Pipe()
                self._process = self._context.Process(
                    target=child_main, args=(theirs, self._builder, self._arguments), name="engine", daemon=True
                )
                self._memory_kills = memory_kills()
                self._process.start()
                self._healthy = False
                theirs.close()
            return self._pipe

    def _send(self, pipe: Connection, tag: str, payload: Any) -> None:
        with self._sending:
            fault("ipc.order")
            pipe.send((tag, payload))

    def _wish(self, pipe: Connection, number: int, wish: str) -> None:
        with contextlib.suppress(OSError):
            self._send(pipe, "wish", (number, wish))

    def _publish(self, catalogue: Catalogue) -> None:
        self._healthy = True
        if self._on_catalogue:
            self._on_catalogue(catalogue)

    def _dump(self) -> None:
        """Have the process write to its log what each of its threads is doing."""
        pid = self.pid
        if pid and hasattr(signal, "SIGUSR1"):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGUSR1)
            self._process.join(DUMP_SECONDS)

    def _kill(self) -> int | None:
        with self._lock:
            process, pipe = self._process, self._pipe
            self._process = self._pipe = None
        if pipe:
            pipe.close()
        if process is None:
            return None
        process.join(1)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode


def _ending(code: int | None, *, short: bool) -> str:
    """Why the process ended with that code; `short`: the system ended processes for want of memory meanwhile."""
    if short and code == -signal.SIGKILL:
        return (
            "The system ran out of memory and ended the engine. "
            "Close other programs, make the picture or the batch smaller, or choose a smaller model."
        )
    return f"The engine process ended unexpectedly ({_how(code)})."


def _how(code: int | None) -> str:
    if code is None:
        return "no exit code"
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


def child_main(pipe: Connection, builder: str, arguments: dict[str, Any]) -> None:
    """The engine process: build the runner, then run what comes until the pipe closes."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's to handle
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1)  # what hangs can be asked where
    sending = threading.Lock()

    def send(tag: str, payload: Any) -> None:
        with sending, contextlib.suppress(OSError):
            pipe.send((tag, payload))

    orders: queue.Queue[tuple[int, Order, Cancel]] = queue.Queue()
    threading.Thread(target=_listen, args=(pipe, orders), daemon=True).start()
    try:
        fault("engine.start")
        module, _, function = builder.partition(":")
        runner = getattr(importlib.import_module(module), function)(**arguments)
    except Exception as error:
        send("unbuilt", f"The engine could not start: {error}")
        raise
    send("catalogue", runner.catalogue)
    while True:
        number, order, cancel = orders.get()
        try:
            for event in runner.run(order, cancel):
                fault("ipc.event")
                send("event", (number, event))
            send("memory", runner.memory())
        except EngineDied as error:  # the device is of no use to this process any more
            send("died", error.message)
            os._exit(1)  # the ends of libraries would wait for the device


def _listen(pipe: Connection, orders: "queue.Queue[tuple[int, Order, Cancel]]") -> None:
    """Take orders and wishes; end the process when the parent is gone."""
    cancels: dict[int, Cancel] = {}
    while True:
        try:
            tag, (number, payload) = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)
        if tag == "run":
            cancels = {number: Cancel()}
            orders.put((number, payload, cancels[number]))
        elif number in cancels:
            cancels[number].ask(payload)
