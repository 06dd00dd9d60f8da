"""Runs jobs in the calling thread; for tests and scripts."""

from collections.abc import Callable, Generator
from typing import Any

from modules.jobs.executors.base import Cancel, Runner
from modules.requests.catalogue import Catalogue
from modules.requests.events import Done, Event, Failed, Order


class InlineExecutor:
    """Wraps a runner that lives in this process."""

    def __init__(self, build: Callable[[], Runner]) -> None:
        self._build = build
        self._runner: Runner | None = None
        self.memory: dict[str, Any] | None = None

    @property
    def pid(self) -> int | None:
        """None: there is no other process."""
        return None

    def start(self, on_catalogue: Callable[[Catalogue], None]) -> None:
        """Build the runner and publish what it can do."""
        self._runner = self._build()
        on_catalogue(self._runner.catalogue)

    def run(self, order: Order, cancel: Cancel, *, stall_seconds: float = 0) -> Generator[Event, None, None]:
        """The events of the order; a call that never returns cannot be watched from its own thread."""
        if self._runner is None:
            self._runner = self._build()
        over = False
        try:
            for event in self._runner.run(order, cancel):
                over = isinstance(event, Done | Failed)
                yield event
            self.memory = self._runner.memory()
        finally:
            if not over:
                cancel.ask("interrupt")

    def close(self) -> None:
        """Let the runner go."""
        self._runner = None
