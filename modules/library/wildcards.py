"""The user's wildcards: lists of words in text, YAML and JSON files, which prompts name as `__folder/name__`."""

import json
import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from modules.core.paths import Paths
from modules.library.walk import Stamp, walk

log = logging.getLogger(__name__)

SUFFIXES = (".txt", ".yaml", ".yml", ".json")
MOST_BYTES = 32 * 2**20
MOST_VALUES = 200_000
LONGEST = 20_000
"""Characters of one value: no prompt may be longer."""

_WEIGHTED = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s*::")

Value = tuple[float, str]
"""A value and how often it is chosen beside the others."""

Lists = Mapping[str, tuple[Value, ...]]


@dataclass(frozen=True)
class WildcardSet:
    """The wildcards as they were at one moment; names are looked for without regard to case. A later folder's lists join those of the
    same name in an earlier one."""

    lists: Mapping[str, tuple[Value, ...]]
    _found: dict[str, tuple[Value, ...]] = field(default_factory=dict)
    _weights: dict[str, tuple[float, ...] | None] = field(default_factory=dict)

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {name.casefold(): name for name in self.lists if self.lists[name]}

    def names(self, pattern: str = "**") -> list[str]:
        """The names that a pattern means, sorted: `*` stands for anything within one part of a name, `**` for any parts."""
        wanted = pattern.strip().strip("/").casefold()
        if "*" not in wanted:
            return [self._folded[wanted]] if wanted in self._folded else []
        parts = _parts(wanted)
        return sorted(name for folded, name in self._folded.items() if _fits(folded.split("/"), parts))

    def values(self, pattern: str) -> tuple[Value, ...]:
        """What the wildcard may come to, sorted, each once."""
        if pattern not in self._found:
            merged: dict[str, float] = {}
            for name in self.names(pattern):
                for weight, text in self.lists[name]:
                    merged.setdefault(text, weight)
            self._found[pattern] = tuple((merged[text], text) for text in sorted(merged))
        return self._found[pattern]

    def weights(self, pattern: str) -> tuple[float, ...] | None:
        """How often each of the wildcard's values is chosen; None is equally often."""
        if pattern not in self._weights:
            found = tuple(weight for weight, _ in self.values(pattern))
            self._weights[pattern] = None if len(set(found)) < 2 else found
        return self._weights[pattern]


class Wildcards:
    """The folders with wildcards; each file is read once, and again when it has changed. Callable from any thread."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._read: dict[str, tuple[Stamp, Lists]] = {}
        self._lock = threading.Lock()

    def folders(self, named: str = "") -> tuple[Path, ...]:
        """Where they are looked for; `named` are more folders, one a line."""
        more = (self._paths.data / line.strip() for line in named.splitlines() if line.strip())
        return tuple(dict.fromkeys((*more, *self._paths.wildcards)))

    def look(self, named: str = "") -> WildcardSet:
        """All there are now; files that cannot be read are left out, and the log says why."""
        lists: dict[str, tuple[Value, ...]] = {}
        seen: set[str] = set()
        for folder in self.folders(named):
            for file in sorted(walk(folder, SUFFIXES), key=lambda file: file.name):
                seen.add(file.path)
                for name, values in self._lists(file.path, file.name, file.stamp).items():
                    lists[name] = (*lists[name], *values) if name in lists else values
        with self._lock:
            for gone in self._read.keys() - seen:
                del self._read[gone]
        return WildcardSet(lists)

    def _lists(self, path: str, name: str, stamp: Stamp) -> Lists:
        with self._lock:
            known = self._read.get(path)
        if known is None or known[0] != stamp:
            known = stamp, _read_file(Path(path), name, stamp.size)
            with self._lock:
                self._read[path] = known
        return known[1]


def _read_file(path: Path, name: str, size: int) -> Lists:
    """A file's lists by name."""
    stem, suffix = name.rpartition(".")[0], path.suffix.lower()
    try:
        if size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES // 2**20} MB")
        text = path.read_bytes().decode("utf-8-sig", "replace")
        if suffix == ".txt":
            lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
            return {stem: _values(lines)}
        data = json.loads(text) if suffix == ".json" else yaml.CSafeLoader(text).get_single_data()
        folder = stem.rpartition("/")[0]
        return dict(_structured(data, stem if isinstance(data, list) else folder))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        log.warning("%s: no wildcards are taken from it: %s", path, " ".join(str(error).split())[:200])
        return {}


def _structured(data: Any, prefix: str) -> Iterator[tuple[str, tuple[Value, ...]]]:
    """The lists in nested objects, by their keys joined with slashes; what is neither is left out. At most MOST_VALUES parts are looked
    at: YAML's references can mean more than any memory holds."""
    pending, looked = [(data, prefix)], 0
    while pending and looked < MOST_VALUES:
        found, name = pending.pop()
        looked += 1
        if isinstance(found, list):
            yield name, _values(part for part in found if isinstance(part, str | int | float))
        elif isinstance(found, dict):
            below = [(part, f"{name}/{key}".lstrip("/")) for key, part in found.items() if isinstance(key, str | int)]
            pending += [(part, key) for part, key in reversed(below[:MOST_VALUES]) if len(key) <= LONGEST]


def _values(texts: Iterator[Any]) -> tuple[Value, ...]:
    found: list[Value] = []
    for text in texts:
        text = str(text).strip()
        if not text or len(text) > LONGEST:
            continue
        weight, rest = weighted(text)
        found.append((weight, rest))
        if len(found) == MOST_VALUES:
            break
    return tuple(found)


def weighted(text: str) -> Value:
    """A text that may begin with its weight, `0.5::red`, and without it."""
    match = _WEIGHTED.match(text)
    return (float(match[1]), text[match.end() :]) if match else (1.0, text)


def _parts(pattern: str) -> list[re.Pattern[str] | None]:
    """The pattern's parts; None is any number of them."""
    found: list[re.Pattern[str] | None] = []
    for part in pattern.split("/"):
        if part == "**":
            found += [None] if not found or found[-1] is not None else []
        else:
            found.append(re.compile("[^/]*".join(re.escape(piece) for piece in re.split(r"\*+", part)[:8])))
    return found


def _fits(parts: Sequence[str], pattern: Sequence[re.Pattern[str] | None]) -> bool:
    """Does a name fit? Row by row, as edit distances are computed: no pattern takes long."""
    row = [True, *[False] * len(parts)]
    for wanted in pattern:
        new = [wanted is None and row[0]]
        for i, part in enumerate(parts):
            if wanted is None:
                new.append(row[i + 1] or new[i])
            else:
                new.append(row[i] and wanted.fullmatch(part) is not None)
        row = new
    return row[-1]
