"""Threads for training on a machine that others use too."""

import os
import time
from pathlib import Path

import torch


def bfloat16() -> torch.autocast:
    """Computes in bfloat16 inside, where the CPU multiplies such; elsewhere it would take longer than float32."""
    return torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported())


class Share:
    """Gives torch the cores that other processes leave free: two threads on one free core are slower than one."""

    def __init__(self, every: float = 10.0) -> None:
        self._every, self._cores = every, _cores()
        self._then = (time.monotonic(), self._busy(), time.process_time())

    def adapt(self) -> None:
        """Call between steps; looks every few seconds."""
        now, busy, own = time.monotonic(), self._busy(), time.process_time()
        then, busy_then, own_then = self._then
        if now - then < self._every:
            return
        others = max(0.0, (busy - busy_then) - (own - own_then)) / (now - then)
        threads = max(1, self._cores - round(others))
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        self._then = (now, busy, own)

    @staticmethod
    def _busy() -> float:
        """Seconds all cores have worked since the start; 0 where the system does not tell."""
        stat = Path("/proc/stat")
        if not stat.exists():
            return 0.0
        ticks = [int(word) for word in stat.read_text().split("\n", 1)[0].split()[1:8]]
        return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _cores() -> int:
    """Cores this process may run on, no more than OMP_NUM_THREADS where that is set."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(mine, max(1, int(told))) if told.isdigit() else mine
