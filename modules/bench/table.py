"""Tables of the benchmark: for people as Markdown, for machines as JSON."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Column:
    """`name` in JSON, `label` for people, and how a value is written for them; None is written as nothing."""

    name: str
    label: str
    form: str = "{}"

    def text(self, value: Any) -> str:
        """The value for people."""
        return "" if value is None else value if isinstance(value, str) else self.form.format(value)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A topic's, or a part of one. `rows` may be measured only when they are asked for."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: Iterable[Row]

    def print(self, write: Callable[[str], None]) -> list[Row]:
        """Write it line by line as rows come; they are returned."""
        write(f"\n{self.title}\n")
        write(line(column.label for column in self.columns))
        write("|---|" + "---:|" * (len(self.columns) - 1))
        rows = []
        for row in self.rows:
            rows.append(row)
            write(line(column.text(row.get(column.name)) for column in self.columns))
        return rows


def line(cells: Iterable[str]) -> str:
    """A row of Markdown."""
    return f"| {' | '.join(cells)} |"


NAME = Column(name="name", label="")
FIGURE = Column(name="figure", label="figure", form="{:.2f} s")


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ratio(pairs: Iterable[tuple[float, float]]) -> float:
    """The median of each first against its second, which was measured in turn with it."""
    return statistics.median(first / second for first, second in pairs)
