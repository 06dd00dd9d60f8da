"""How much memory is free on a device, and giving back what is no longer used."""

import contextlib
import ctypes
import gc
import sys
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import torch

GROUP = Path("/sys/fs/cgroup")
"""Where a container's own limits stand (cgroup v2)."""

DONTNEED = 4
"""madvise(2): this process does without those pages until it touches them again."""


def free_memory(device: torch.device, group: Path = GROUP) -> int:
    """Bytes that can still be taken on that device; what holds nothing but a copy of a file counts as free."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(min(psutil.virtual_memory().available, _group_free(group)), 0)


def memory_figures(device: torch.device) -> dict[str, Any] | None:
    """Bytes on that GPU under A1111's names, as PyTorch counts them; None for a CPU."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    counted = torch.cuda.memory_stats(device)
    kinds = {"active": "active_bytes", "allocated": "allocated_bytes", "reserved": "reserved_bytes"}
    kinds["inactive"] = "inactive_split_bytes"

    def both(name: str) -> dict[str, int]:
        return {"current": counted.get(f"{name}.all.current", 0), "peak": counted.get(f"{name}.all.peak", 0)}

    return {
        "system": {"free": free, "used": total - free, "total": total},
        **{kind: both(name) for kind, name in kinds.items()},
        "events": {"retries": counted.get("num_alloc_retries", 0), "oom": counted.get("num_ooms", 0)},
    }


def give_back(gone: Iterable[weakref.ref[Any]] = ()) -> None:
    """Return what was let go of to the system: Python, the C library and the GPU's allocator all keep some.

    Cycles are looked for only if one of what should be `gone` is still there: that takes longer than reading a model.
    """
    if any(thing() is not None for thing in gone):
        gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library than GNU's has no such function
            ctypes.CDLL(None).malloc_trim(0)


def unmap_read(file: Path) -> None:
    """Take what was read of a file that stays mapped, and is not written to, out of what this process holds: Linux keeps it as a copy of the
    file for as long as there is room, and finds it there when it is asked for again."""
    if sys.platform != "linux":
        return
    for line in Path("/proc/self/maps").read_text().splitlines():
        places, kind, *_ = line.split(maxsplit=2)
        if kind == "r--s" and line.endswith(f" {file}"):
            first, end = (int(place, 16) for place in places.split("-"))
            ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), DONTNEED)


def out_of_memory(error: BaseException) -> bool:
    """Is it that memory could not be had? PyTorch says so on the CPU in words alone."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "memory" in str(error)
    )


def _group_free(group: Path) -> int:
    """Bytes below the limit of this process's control group; without one, more than any machine has."""
    try:
        limit, used = int((group / "memory.max").read_text()), int((group / "memory.current").read_text())
        pairs = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        cached = sum(int(count) for name, count in pairs if name in ("inactive_file", "active_file"))
    except (OSError, ValueError):  # no group, or "max"
        return sys.maxsize
    return limit - used + cached
