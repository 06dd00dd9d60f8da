"""What is typed into the gallery's search field: words, and `model:`, `lora:`, `seed:`, `size:`, `date:` and the like."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from modules.core.errors import InputError, short
from modules.library.album.schema import spaced

COLUMNS = {
    "model": "model",
    "lora": "lora",
    "sampler": "sampler",
    "negative": "negative",
    "name": "name",
    "prompt": "prompt",
}
DATES = ("date", "before", "after")
MOST = 20
_PART = re.compile(r'(?:(\w+):)?(?:"([^"]*)"|(\S+))')
_SIZE = re.compile(r"(\d{1,6})(?:[x×*](\d{1,6}))?")


@dataclass
class Query:
    """Conditions on `pictures`, all of which must hold, and an FTS5 expression. `said`: what is meant, `similar`: the picture that is."""

    where: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    said: str = ""
    similar: int | None = None

    def add(self, condition: str, *values: Any) -> None:
        """One more condition."""
        self.where.append(condition)
        self.values += values


def parse_query(text: str, *, by_meaning: bool = False) -> Query:
    """Raises InputError for a date or size that is none. `by_meaning`: words without a key are what is meant, not what is written."""
    found = Query()
    for match in list(_PART.finditer(text.replace("\0", " ")))[:MOST]:
        key, value = (match[1] or "").lower(), match[2] if match[2] is not None else match[3]
        if key == "seed":
            found.add("seed = ?", value)
        elif key == "owner":
            found.add("owner = ?", value)
        elif key == "similar":
            found.similar = _id(value)
        elif key == "size":
            _size(found, value)
        elif key in DATES:
            _date(found, key, value)
        elif key in COLUMNS:
            _words(found, value, f"{COLUMNS[key]} : ")
        elif by_meaning:
            found.said = f"{found.said} {match[0]}".strip()
        else:
            _words(found, f"{match[1]} {value}" if key else value, "")
    if found.words:
        found.add("id IN (SELECT rowid FROM words WHERE words MATCH ?)", " AND ".join(found.words))
    return found


def _id(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,17}", text):
        raise InputError("search", f"similar:{short(text)} is no picture. Press Similar beside one.")
    return int(text)


def _words(found: Query, text: str, column: str) -> None:
    """Each part that the index holds as a word must stand there, or begin one; parts in quotation marks follow each other."""
    quoted = spaced(text).replace('"', " ").strip()
    if re.search(r"\w", quoted):
        found.words.append(f'{column}"{quoted}" *')


def _size(found: Query, text: str) -> None:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InputError("search", f"size:{short(text)} is no size. Write size:512x768, or size:512 for one side.")
    if match[2]:
        found.add("width = ? AND height = ?", int(match[1]), int(match[2]))
    else:
        found.add("(width = ? OR height = ?)", int(match[1]), int(match[1]))


def _date(found: Query, key: str, text: str) -> None:
    try:
        parts = [int(part) for part in text.split("-")]
        year, month, day = (*parts, *(1, 1)[len(parts) - 1 :]) if len(parts) < 4 else (0, 0, 0)
        first = datetime(year, month, day)
        unit = len(parts)
        last = datetime(
            year + (unit == 1 or (unit == 2 and month == 12)),
            1 if unit == 1 else month % 12 + 1 if unit == 2 else month,
            day,
        )
        start, end = first.timestamp(), last.timestamp() + (86400 if unit == 3 else 0)
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(
            "search", f"{key}:{short(text)} is no date. Write {key}:2026, {key}:2026-05 or {key}:2026-05-31."
        ) from error
    if key != "before":
        found.add("mtime >= ?", _nanoseconds(start if key == "date" else end))
    if key != "after":
        found.add("mtime < ?", _nanoseconds(end if key == "date" else start))


def _nanoseconds(seconds: float) -> int:
    """As files tell it, no more than the database can hold."""
    return max(-(2**63), min(2**63 - 1, int(seconds * 1e9)))
