"""Which of several: at random by a seed, in turn, or every combination one after the other."""

import random
from collections.abc import Sequence

RANDOM, CYCLE, EVERY = "~", "@", "!"

HEAVIEST = 1e9


class Odometer:
    """All combinations of choices whose number is found out on the way: the last one turns fastest.

    `digit` is asked in the same order every time until a choice differs; `advance` goes on to the next combination.
    """

    def __init__(self) -> None:
        self._digits: list[list[int]] = []
        self._at = 0

    def digit(self, count: int) -> int:
        """The next choice, of 0 ... count - 1."""
        if self._at == len(self._digits):
            self._digits.append([0, count])
        found = self._digits[self._at]
        self._at += 1
        found[1] = count
        return min(found[0], count - 1)

    def rewind(self) -> None:
        """Begin the same combination again."""
        self._at = 0

    def advance(self) -> bool:
        """Go on to the next combination; after the last one False, and on to the first."""
        del self._digits[self._at :]
        self._at = 0
        while self._digits:
            self._digits[-1][0] += 1
            if self._digits[-1][0] < self._digits[-1][1]:
                return True
            self._digits.pop()
        return False


class Chooser:
    """Chooses for one text. `usual`: how, where the template does not say; `position`: the picture's number, for what goes in turn.

    The random numbers are drawn as the extension draws them, so that a seed means the same choice.
    """

    def __init__(self, seed: int | str, position: int, odometer: Odometer, usual: str = RANDOM) -> None:
        self._random = random.Random(seed)
        self._position = position
        self._odometer = odometer
        self._usual = usual

    def number(self, sampler: str, least: int, most: int) -> int:
        """A number from `least` to `most`."""
        sampler = sampler or self._usual
        if sampler == RANDOM:
            return self._random.randint(least, most)
        count = most - least + 1
        return least + (self._odometer.digit(count) if sampler == EVERY else self._position % count)

    def one(self, sampler: str, count: int, weights: Sequence[float] | None = None) -> int:
        """One of 0 ... count - 1; `weights` count where it is chosen at random, None is the same for all."""
        sampler = sampler or self._usual
        if sampler == EVERY:
            return self._odometer.digit(count)
        if sampler == CYCLE:
            return self._position % count
        bounded = None if weights is None else [min(weight, HEAVIEST) for weight in weights]
        return self._random.choices(range(count), weights=bounded if bounded and sum(bounded) else None)[0]

    def several(self, sampler: str, weights: Sequence[float], count: int) -> list[int]:
        """The places of `count` of these, in the order of choice, none twice."""
        places = list(range(len(weights)))
        left = None if len(set(weights)) == 1 else list(weights)
        if len(places) == 1:
            return places[:count]
        found = []
        for _ in range(count):
            chosen = self.one(sampler, len(places), left)
            found.append(places.pop(chosen))
            if left is not None:
                del left[chosen]
        return found
