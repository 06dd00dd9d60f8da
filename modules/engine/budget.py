"""How much time live previews may take."""

import time
from collections.abc import Callable

SHARE = 0.03  # of the time that drawing takes without them
LOOKS = 2  # at what a method costs, before it is believed: the first one warms up


class Budget:
    """Previews spend what drawing earns: SHARE of its time. Debts last from picture to picture; savings no longer than one."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._balance = 0.0  # seconds
        self._began = self._at = clock()
        self._seen: dict[object, list[float]] = {}

    def begin(self) -> None:
        """A batch begins."""
        self._balance = min(self._balance, SHARE * (self._at - self._began))
        self._began = self._at = self._clock()

    def allows(self, method: object) -> bool:
        """Is there time for one more preview of that kind? Time up to now has been drawing."""
        now = self._clock()
        self._balance, self._at = self._balance + SHARE * (now - self._at), now
        seen = self._seen.get(method, [])
        return self._balance >= (min(seen) if len(seen) >= LOOKS else 0.0)

    def spend(self, method: object) -> None:
        """The time since the last call went into one preview of that kind."""
        seconds = self._clock() - self._at
        self._balance -= seconds
        self._at += seconds
        self._seen[method] = [*self._seen.get(method, []), seconds][-LOOKS:]

    def rest(self) -> None:
        """The time since the last call went into something that is done once."""
        self._at = self._clock()
