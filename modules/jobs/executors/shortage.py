"""Why a process was killed from outside: whether the system ended one for want of memory meanwhile."""

from pathlib import Path

COUNTERS = (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events"))
"""Where Linux counts the processes it ended so: on this machine, and in this container."""


def memory_kills(counters: tuple[Path, ...] = COUNTERS) -> int:
    """How many processes the system has ended for want of memory so far; 0 where it does not say."""
    return sum(_count(path) for path in counters)


def _count(path: Path) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    counts = (line.split() for line in lines if line.startswith("oom_kill "))
    return sum(int(count[1]) for count in counts if len(count) == 2 and count[1].isdecimal())
