"""The picture files below a folder, without opening any; and how the album's rows follow them."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modules.library.walk import is_text

ENDINGS = frozenset((".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif"))
MOST = 1_000_000
BATCH = 500


@dataclass(frozen=True)
class File:
    """`name`: its path below the root, with forward slashes."""

    name: str
    size: int
    mtime: int


def pictures_below(root: Path) -> Iterator[File]:
    """Never raises. What is hidden, and what links lead to, is left out."""
    pending, count = [(str(root), "")], 0
    while pending:
        folder, prefix = pending.pop()
        try:
            with os.scandir(folder) as entries:
                found = list(entries)
        except OSError:
            continue
        for entry in found:
            if entry.name.startswith(".") or not is_text(entry.name):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, f"{prefix}{entry.name}/"))
                elif os.path.splitext(entry.name)[1].lower() in ENDINGS:  # noqa: PTH122
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        count += 1
                        yield File(prefix + entry.name, status.st_size, status.st_mtime_ns)
            except OSError:
                continue
        if count > MOST:
            return


def folder_of(root: str, name: str) -> str:
    """What the gallery calls the folder: the first one below the root, or the root's own name."""
    first, slash, _ = name.partition("/")
    return first if slash else Path(root).name


def differences(
    known: dict[str, sqlite3.Row], files: Iterator[File]
) -> tuple[list[File], list[tuple[File, int]], list[int]]:
    """What is new, what is another file now (with its row's id; so is what was missing and is back), and the ids of what is gone."""
    new: list[File] = []
    changed: list[tuple[File, int]] = []
    left = dict(known)
    for file in files:
        row = left.pop(file.name, None)
        if row is None:
            new.append(file)
        elif (row["size"], row["mtime"], row["missing"]) != (file.size, file.mtime, 0):
            changed.append((file, row["id"]))
    return new, changed, [row["id"] for row in left.values() if not row["missing"]]
