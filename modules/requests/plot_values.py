"""The values of an axis, as users write them: lists with commas, ranges `1-5`, `1-5 (+2)`, `1-10 [5]`."""

import csv
import io
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from modules.core.errors import InputError, short
from modules.requests.axes import Axis

MOST = 1000
"""Values of one axis: more than any sheet of pictures can show."""

_NUMBER = r"\s*([+-]?\d+(?:\.\d*)?)\s*"
_RANGE = re.compile(rf"{_NUMBER}-{_NUMBER}(?:\(([+-]\d+(?:\.\d*)?)\))?\s*")
_COUNT = re.compile(rf"{_NUMBER}-{_NUMBER}\[(\d{{1,9}})\]\s*")


def split_list(text: str) -> list[str]:
    """The entries of a line (or more) of comma-separated values; quotes keep a comma inside. Empty ones are left out."""
    csv_error = InputError(
        "script_args", f"{short(text)} is no list: a value is too long. Write fewer or shorter ones."
    )
    try:
        rows = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    except csv.Error as error:
        raise csv_error from error
    return [entry.strip() for row in rows for entry in row if entry.strip()]


def read_values(axis: Axis, text: str, chosen: Sequence[str] = ()) -> tuple[Any, ...]:
    """The values of an axis from text, or those chosen from its menu; raises InputError for none, for wrong ones and for too many."""
    if axis.kind == "nothing":
        return (0,)
    entries = list(chosen) or split_list(text)
    if not entries:
        raise InputError(
            "script_args", f'The axis "{axis.name}" of the X/Y/Z plot has no values. Write some, as in "1, 2, 3".'
        )
    found: list[Any] = []
    for value in _read(axis, entries):
        if len(found) == MOST:
            raise InputError(
                "script_args", f'The axis "{axis.name}" of the X/Y/Z plot has over {MOST} values. Write fewer.'
            )
        found.append(value)
    return tuple(found)


def _read(axis: Axis, entries: list[str]) -> Iterator[Any]:
    if axis.kind == "order":
        yield from itertools.permutations(entries)
    elif axis.kind in ("whole", "number"):
        make = _whole if axis.kind == "whole" else _number
        for entry in entries:
            yield from _numbers(axis, entry, make)
    elif axis.kind == "switch":
        yield from (_switch(axis, entry) for entry in entries)
    else:
        yield from entries


def _numbers(axis: Axis, entry: str, make: Callable[[Axis, str], Any]) -> Iterator[Any]:
    """One number, or those of a range."""
    if found := _COUNT.fullmatch(entry):
        start, end, count = float(found[1]), float(found[2]), int(found[3])
        step = (end - start) / max(count - 1, 1)
        values = (end if i and i == count - 1 else start + i * step for i in range(count))
        yield from (int(value) for value in values) if make is _whole else values
    elif found := _RANGE.fullmatch(entry):
        start, end = make(axis, found[1]), make(axis, found[2])
        step = make(axis, found[3] or "1")
        if not step:
            raise InputError(
                "script_args", f'The range {short(entry)} of the axis "{axis.name}" goes in steps of 0. Write another.'
            )
        # as A1111's: whole numbers end with the last one, others one step later
        stop = end + 1 if make is _whole else end + step
        yield from (start + i * step for i in range(max(math.ceil((stop - start) / step), 0)))
    else:
        yield make(axis, entry)


def _whole(axis: Axis, entry: str) -> int:
    try:
        return int(entry)
    except ValueError as error:
        raise _wrong(axis, entry, "a whole number or a range as 1-5, 1-5 (+2), 1-10 [5]") from error


def _number(axis: Axis, entry: str) -> float:
    try:
        found = float(entry)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise _wrong(axis, entry, "a number or a range as 1-2 (+0.5), 0-1 [5]")
    return found


def _switch(axis: Axis, entry: str) -> bool:
    if entry.casefold() not in ("true", "false"):
        raise _wrong(axis, entry, "True or False")
    return entry.casefold() == "true"


def _wrong(axis: Axis, entry: str, words: str) -> InputError:
    return InputError(
        "script_args", f'{short(entry)} is no value of the axis "{axis.name}" of the X/Y/Z plot: it must be {words}.'
    )
