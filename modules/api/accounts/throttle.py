"""How often a password may be wrong."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modules.core.errors import TooManyTries

FREE = 5  # tries of one name from one address
FREE_ADDRESS = 20  # tries of all names from one address
FIRST_WAIT, LONGEST_WAIT = 5.0, 900.0  # seconds
MAX_KEYS = 10_000
TURNS = 64

Key = tuple[str, ...]


@dataclass
class _Tries:
    count: int = 0
    last: float = 0.0


class Throttle:
    """After the free tries each further one has to wait, twice as long as the last. `everyone`: tries a minute of all together."""

    def __init__(self, everyone: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._everyone = everyone
        self._clock = clock
        self._lock = threading.Lock()
        self._tries: OrderedDict[Key, _Tries] = OrderedDict()
        self._recent: list[float] = []
        self._turns = [threading.RLock() for _ in range(TURNS)]

    def turn(self, address: str) -> threading.RLock:
        """To be held from `begin` to `succeeded`: tries of one address come one after the other, so that right ones that are sent at the
        same moment are not taken for guesses."""
        return self._turns[hash(address) % TURNS]

    def begin(self, name: str, address: str) -> None:
        """Count a try, before its password is looked at. Raises TooManyTries."""
        now = self._clock()
        with self._lock:
            keys = self._keys(name, address)
            wait = max([self._wait(key, free, now) for key, free in keys] + [self._wait_for_all(now)])
            if wait > 0:
                raise TooManyTries(
                    f"There were too many wrong passwords. Try again in {max(1, round(wait))} seconds.", wait
                )
            for key, _ in keys:
                tries = self._tries.pop(key, _Tries())
                self._tries[key] = _Tries(tries.count + 1, now)
            while len(self._tries) > MAX_KEYS:
                self._tries.popitem(last=False)
            self._recent.append(now)

    def succeeded(self, name: str, address: str) -> None:
        """The password was right: forget the tries before it."""
        with self._lock:
            for key, _ in self._keys(name, address):
                tries = self._tries.pop(key, None)
            if self._recent and tries:
                self._recent.pop()

    def _keys(self, name: str, address: str) -> Sequence[tuple[Key, int]]:
        return ((name.casefold(), address), FREE), ((address,), FREE_ADDRESS)

    def _wait(self, key: Key, free: int, now: float) -> float:
        tries = self._tries.get(key)
        if tries is None or tries.count < free:
            return 0.0
        if now - tries.last > LONGEST_WAIT:
            del self._tries[key]
            return 0.0
        pause = min(FIRST_WAIT * 2.0 ** min(tries.count - free, 20), LONGEST_WAIT)
        return pause - (now - tries.last)

    def _wait_for_all(self, now: float) -> float:
        if self._everyone is None:
            self._recent.clear()
            return 0.0
        self._recent = [moment for moment in self._recent if now - moment < 60]
        return 60 - (now - self._recent[0]) if len(self._recent) >= self._everyone else 0.0
