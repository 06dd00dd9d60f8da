"""The user's lists of tags, as the extension tag autocomplete reads them: CSV files of `name,category,count,"alias,alias"`."""

import csv
import io
import logging
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modules.core.paths import Paths
from modules.library.walk import Stamp, walk

log = logging.getLogger(__name__)

SUFFIXES = (".csv",)
MOST_BYTES = 64 * 2**20
MOST_ROWS = 1_000_000
LONGEST = 200
"""Characters of a name."""

MOST_ALIASES = 100


@dataclass(frozen=True, slots=True)
class Tag:
    """A row. `count`: how often pictures have it, by which tags are ordered."""

    name: str
    category: int = 0
    count: int = 0
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hit:
    """A tag that was found; `alias` is the other name by which, "" if by its own."""

    tag: Tag
    alias: str = ""


class TagIndex:
    """Finds tags by parts of their names. All names stand in one text, those of frequent tags first, so that a search is one
    that strings have: it ends at the last hit that is wanted, and takes milliseconds where there is none."""

    def __init__(self, tags: Sequence[Tag] = ()) -> None:
        self._tags = sorted(tags, key=lambda tag: -tag.count)
        self._starts, self._rows, self._names = array("q"), array("l"), []
        lines, at = [""], 1
        for row, tag in enumerate(self._tags):
            for name in (tag.name, *tag.aliases):
                line = plain(name)
                self._starts.append(at)
                self._rows.append(row)
                self._names.append(name)
                lines.append(line)
                at += len(line) + 1
        self._text = "\n".join([*lines, ""])

    def __len__(self) -> int:
        return len(self._tags)

    def search(self, text: str, limit: int) -> list[Hit]:
        """At most so many tags with `text` in a name: those that begin with it, then those of which a word does, then the others;
        each group by frequency. Case does not count, and underscores are spaces."""
        wanted = plain(text)
        found: dict[int, Hit] = {}
        if not wanted.strip():
            return []
        for mark in (f"\n{wanted}", f" {wanted.lstrip()}", wanted):
            for line in self._lines(mark):
                row, name = self._rows[line], self._names[line]
                tag = self._tags[row]
                found.setdefault(row, Hit(tag, "" if name == tag.name else name))
                if len(found) >= limit:
                    return list(found.values())
        return list(found.values())

    def _lines(self, wanted: str) -> Iterator[int]:
        """The numbers of the lines that hold it."""
        at = self._text.find(wanted)
        while at >= 0:
            line = bisect_right(self._starts, at + (wanted[0] == "\n")) - 1
            yield line
            end = self._text.find("\n", at + 1)
            at = self._text.find(wanted, end) if end >= 0 else -1


class TagLists:
    """The lists in the folders of tags; read once, and again when one has changed. Callable from any thread; never raises."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._known: tuple[tuple[tuple[str, Stamp], ...], TagIndex] = (), TagIndex()

    def look(self) -> TagIndex:
        """All tags there are now; of equal names the more frequent counts. Rows that are none are left out."""
        files = [file for root in self._paths.tags for file in sorted(walk(root, SUFFIXES), key=lambda f: f.name)]
        stamps = tuple((file.path, file.stamp) for file in files)
        with self._lock:  # those who come while it is read wait: reading twice takes longer
            if self._known[0] != stamps:
                tags: dict[str, Tag] = {}
                for file in files:
                    for tag in _read(Path(file.path), file.stamp.size):
                        known = tags.get(tag.name)
                        if known is None or known.count < tag.count:
                            tags[tag.name] = tag
                self._known = stamps, TagIndex(list(tags.values()))
            return self._known[1]


def plain(name: str) -> str:
    """A name as it is looked for."""
    return name.casefold().replace("_", " ").replace("\n", " ")


def _read(path: Path, size: int) -> list[Tag]:
    try:
        if size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES // 2**20} MB")
        text = path.read_bytes().decode("utf-8-sig", "replace").replace("\0", "")
        rows = csv.reader(io.StringIO(text, newline=""))
        return [tag for _, row in zip(range(MOST_ROWS), _rows(rows), strict=False) if (tag := _tag(row))]
    except (OSError, ValueError) as error:
        log.warning("%s: no tags are taken from it: %s", path, error)
        return []


def _rows(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Those that are well-formed."""
    while True:
        try:
            yield next(rows)
        except csv.Error:
            continue
        except StopIteration:
            return


def _tag(row: Sequence[str]) -> Tag | None:
    """A row's tag; None for a heading, an empty or an overlong one. The extension's lists of two columns have no categories."""
    name = row[0].strip() if row else ""
    if not 1 <= len(name) <= LONGEST or not name.isprintable() or (name, row[1:2]) == ("name", ["category"]):
        return None
    aliases = (alias.strip() for alias in (row[3] if len(row) > 3 else "").split(",")[:MOST_ALIASES])
    kept = tuple(alias for alias in aliases if 1 <= len(alias) <= LONGEST and alias.isprintable() and alias != name)
    return Tag(name, _number(row, 1), _number(row, 2), kept)


def _number(row: Sequence[str], at: int) -> int:
    text = row[at].strip() if len(row) > at else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
