"""A transfer while it runs: how far, how fast; and the wish to stop it."""

import threading
import time
from collections import deque
from typing import Literal

from modules.library.downloads.fetch import Stopped
from modules.library.downloads.transport import Answer

Wish = Literal["pause", "cancel", "close"]
WINDOW = 10.0  # seconds that the speed is taken over


class Live:
    """Written by the transfer's thread, read by all; `over` is set when its thread is through. Bytes are of the whole download, finished files included."""

    def __init__(self, size: int | None, finished: int = 0) -> None:
        self.size = size
        self.received = finished
        self.finished = finished
        self.trouble = ""
        self.wish: Wish | None = None
        self.over = threading.Event()
        self._stop = threading.Event()
        self._answer: Answer | None = None
        self._samples: deque[tuple[float, int]] = deque(maxlen=200)

    def ask(self, wish: Wish) -> None:
        """Stop soon."""
        self.wish = wish
        self._stop.set()
        if (answer := self._answer) is not None:
            answer.abort()

    def check(self) -> None:
        """Raise Stopped if that was asked."""
        if self.wish is not None:
            raise Stopped("Stopped by the user.")

    def wait(self, seconds: float) -> None:
        """Let that time pass, unless stopped; raises Stopped."""
        self._stop.wait(seconds)
        self.check()

    def file_done(self, size: int) -> None:
        """One file of several is whole."""
        self.finished += size
        self.received = self.finished

    # -- as fetch.Watcher --

    def connected(self, answer: Answer | None) -> None:
        """The answer that is read from now on."""
        self._answer = answer
        if answer is not None:
            self.check()

    def progress(self, received: int, total: int | None) -> None:
        """Bytes of the present file."""
        self.check()
        self.received = self.finished + received
        if self.size is None and total is not None:
            self.size = self.finished + total
        now = time.monotonic()
        if not self._samples or now - self._samples[-1][0] >= 0.1:
            self._samples.append((now, self.received))
            self.trouble = ""

    @property
    def speed(self) -> float | None:
        """Bytes a second lately; None before there is anything to say."""
        now, samples = time.monotonic(), list(self._samples)
        recent = [sample for sample in samples if now - sample[0] <= WINDOW]
        if len(recent) < 2 or now <= recent[0][0]:
            return None
        return max(self.received - recent[0][1], 0) / (now - recent[0][0])

    @property
    def seconds_left(self) -> float | None:
        """At that speed."""
        speed = self.speed
        return (self.size - self.received) / speed if speed and self.size is not None else None
