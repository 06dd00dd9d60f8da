"""What this process holds of the memory."""

from pathlib import Path

import torch


def held(device: torch.device) -> int:
    """Bytes that PyTorch has on a GPU, or else those of this process that are no mapped file; 0 where the system does not tell."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)


def restart_peak(device: torch.device) -> None:
    """The peak that is told next begins now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> int | None:
    """The most that PyTorch had on a GPU since then; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
