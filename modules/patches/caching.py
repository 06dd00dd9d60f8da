"""What caches know of the calls they see: the step, and what the rows are. Rows of one group never see another's cache."""

from torch import Tensor


class Rows:
    """The call that comes next, as guidance tells of it: number of the step, and (group, number of rows) in the order of the rows."""

    def __init__(self) -> None:
        self.call = -1
        self._groups: tuple[tuple[str, int], ...] = ()

    def __call__(self, call: int, groups: tuple[tuple[str, int], ...]) -> None:
        self.call, self._groups = call, groups

    def of(self, x: Tensor) -> tuple[tuple[str, int], ...]:
        """The groups of the rows of x (B, ...); none where those told are not what x holds."""
        return self._groups if sum(count for _, count in self._groups) == len(x) else ()
