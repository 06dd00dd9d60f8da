"""What a GPU says when it is out of order, at the start and in the middle, in sentences."""

import shutil
from pathlib import Path

import torch

DRIVER = Path("/proc/driver/nvidia/version")
"""Where NVIDIA's driver tells its version on Linux."""

LOST = (
    "device-side assert",
    "unspecified launch failure",
    "illegal memory access",
    "misaligned address",
    "device is lost",
    "fell off the bus",
    "uncorrectable ecc",
    "context is destroyed",
    "cuda error: unknown error",
    "all cuda-capable devices are busy or unavailable",
)
"""Parts of what CUDA says when its context is dead: nothing in this process can use the GPU any more."""


def gpu_trouble(driver: Path = DRIVER) -> str | None:
    """Why the NVIDIA GPU of this machine cannot be used; None where it can, or where there is none."""
    try:
        if torch.cuda.is_available():
            torch.cuda.mem_get_info(0)  # the first call that must reach the GPU
            return None
    except RuntimeError as error:
        return f"The GPU does not answer ({reason(error)}). The CPU computes instead, slowly. Restart the machine, or look into the driver."
    if not driver.exists() and not shutil.which("nvidia-smi"):
        return None
    if torch.version.cuda is None:
        return (
            f"There is an NVIDIA driver, but torch {torch.__version__} is a build without CUDA; the CPU computes, slowly. "
            "Start with launch.sh or launch.bat, which install the right one."
        )
    return (
        f"There is an NVIDIA driver, but no GPU that torch {torch.__version__} for CUDA {torch.version.cuda} can use; the CPU "
        "computes, slowly. Update the driver if it is older than that, and see whether `nvidia-smi` lists the GPU."
    )


def gpu_lost(error: BaseException) -> str | None:
    """The sentence of an error after which this process cannot use the GPU any more; None for every other error."""
    if not isinstance(error, RuntimeError) or isinstance(error, torch.OutOfMemoryError):
        return None
    text = str(error).lower()
    if not any(part in text for part in LOST):
        return None
    return f"The GPU failed in the middle of the job ({reason(error)}); the engine was started again."


def reason(error: BaseException) -> str:
    """The first line of what an error says, without its end mark."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:200] if lines else type(error).__name__
