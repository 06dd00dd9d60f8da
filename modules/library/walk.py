"""The model files below a folder, with what tells whether each has changed; no file is opened."""

import logging
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

SUFFIXES = (".safetensors", ".ckpt", ".gguf")
FOLDER = "model_index.json"
"""What makes a folder a diffusers model."""
SIDECARS = (".json", ".civitai.info", ".cm-info.json", ".txt")
PREVIEWS = tuple(f"{middle}.{end}" for end in ("png", "jpg", "jpeg", "webp", "gif") for middle in ("", ".preview"))
"""Ends of the names of preview pictures, the first one's before the others', as A1111 looks for them."""
MAX_ENTRIES = 500_000


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """What changes when a file does. `changed` catches a file that was replaced by one of the same size and time.

    It is the time of the last change of the inode, on Windows (which has none) the file's number. Numbers are not used
    elsewhere: network and cloud folders give new ones at every mount, and everything would be hashed again.
    """

    size: int
    mtime: int
    changed: int


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One model file or diffusers folder. `name` is its path below the root, with forward slashes."""

    path: str
    name: str
    stamp: Stamp
    is_folder: bool = False
    sidecars: tuple[str, ...] = ()
    sidecar_time: int = 0
    preview: str | None = None


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file with that status."""
    changed = status.st_ino if os.name == "nt" else status.st_ctime_ns
    return Stamp(size=status.st_size, mtime=status.st_mtime_ns, changed=changed % 2**63)


def walk(root: Path, suffixes: Collection[str] = SUFFIXES) -> Iterator[Seen]:
    """Model files and diffusers folders below `root`, in no order; never raises.

    A folder is walked once however many links lead to it. What is no regular file (a pipe, a dead link, a folder called
    x.safetensors), what is hidden, and names that are no text in any encoding are left out.
    """
    walked: set[str] = set()
    pending = [(str(root), "")]
    entries = 0
    while pending:
        folder, prefix = pending.pop()
        found = _entries(folder, walked)
        entries += len(found)
        if entries > MAX_ENTRIES:
            log.warning("%s holds more than %d files: the rest is left out.", root, MAX_ENTRIES)
            return
        if prefix and FOLDER in found and _is_file(found[FOLDER]):
            seen = _folder(folder, prefix, found[FOLDER])
            if seen:
                yield seen
            continue
        below = []
        for name, entry in found.items():
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
            if suffix in suffixes and not name.startswith("._") and (seen := _file(entry, prefix + name, found)):
                yield seen
            elif not name.startswith(".") and _is_folder(entry):
                below.append((entry.path, f"{prefix}{name}/"))
        pending += sorted(below, reverse=True)


def _entries(folder: str, walked: set[str]) -> dict[str, os.DirEntry[str]]:
    try:
        real = os.path.realpath(folder)
        if real in walked:
            return {}
        walked.add(real)
        with os.scandir(folder) as entries:
            return {entry.name: entry for entry in entries if entry.name.isascii() or is_text(entry.name)}
    except (OSError, ValueError):
        return {}


def _file(entry: os.DirEntry[str], name: str, beside: dict[str, os.DirEntry[str]]) -> Seen | None:
    try:
        status = entry.stat()
        if os.name == "nt":
            status = os.stat(entry.path)  # noqa: PTH116  # a DirEntry of Windows knows no file number
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    stem = os.path.splitext(entry.name)[0]  # noqa: PTH122
    sidecars = tuple(stem + end for end in SIDECARS if stem + end in beside)
    preview = next((stem + end for end in PREVIEWS if stem + end in beside), None)
    return Seen(
        path=entry.path,
        name=name,
        stamp=stamp_of(status),
        sidecars=sidecars,
        sidecar_time=sum(_time(beside[name]) for name in sidecars) % 2**63,
        preview=preview if preview != entry.name else None,
    )


def _folder(folder: str, prefix: str, index: os.DirEntry[str]) -> Seen | None:
    try:
        return Seen(path=folder, name=prefix[:-1], stamp=stamp_of(index.stat()), is_folder=True)
    except OSError:
        return None


def _time(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_mtime_ns
    except OSError:
        return 0


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_text(name: str) -> bool:
    """Whether a name can be written in JSON: a file system may hold names that are no text in any encoding."""
    return not any("\ud800" <= c <= "\udfff" for c in name)
