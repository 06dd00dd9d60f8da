"""The device and dtype of this machine."""

import logging
from dataclasses import dataclass

import torch

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where the networks run (`device`, `dtype`); the autoencoder may need more range (`vae_dtype`).

    `xformers`: the U-Net uses xformers attention instead of PyTorch's own.
    """

    device: torch.device
    dtype: torch.dtype
    vae_dtype: torch.dtype
    xformers: bool = False


def choose_compute(*, use_cpu: bool = False, no_half: bool = False) -> Compute:
    """The first CUDA device in half precision, else the CPU in float32."""
    if use_cpu or not torch.cuda.is_available():
        return Compute(device=torch.device("cpu"), dtype=torch.float32, vae_dtype=torch.float32)
    dtype = torch.float32 if no_half else torch.float16
    return Compute(device=torch.device("cuda", 0), dtype=dtype, vae_dtype=torch.float32)


def xformers_trouble(device: torch.device) -> str | None:
    """Why xformers attention cannot be used here; None when it can."""
    if device.type != "cuda":
        return "--xformers is not used: xformers needs an NVIDIA GPU."
    try:
        import xformers.ops  # pyright: ignore[reportMissingImports]  # installed on request only

        q = torch.zeros(1, 8, 1, 32, device=device, dtype=torch.float16)
        xformers.ops.memory_efficient_attention(q, q, q)
    except Exception as error:  # a build for another torch fails in many ways
        return f"--xformers is not used: the installed xformers does not fit torch {torch.__version__} ({type(error).__name__}). PyTorch's own attention is used."
    return None
