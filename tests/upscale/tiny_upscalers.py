"""Small upscalers of seeded random weights, as files."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact

from modules.core.paths import Paths
from modules.devices.choice import Compute
from modules.library.upscalers import UpscalerFiles
from modules.upscale.upscalers import Networks, Upscalers

CPU = torch.device("cpu")
COMPUTE = Compute(device=CPU, dtype=torch.float32, vae_dtype=torch.float32)


def compact(scale: int = 2, convolutions: int = 3) -> Compact:
    """A network whose pixels depend on those up to `convolutions` + 2 pixels away."""
    torch.manual_seed(scale)
    return Compact(num_feat=8, num_conv=convolutions, upscale=scale)


def write_compact(folder: Path, name: str, scale: int = 2) -> Path:
    """One in a file of models/ESRGAN's kind."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.contiguous() for key, value in compact(scale).state_dict().items()}
    path = folder / name
    if path.suffix == ".pth":
        torch.save({"params_ema": weights, "params": {}}, path)
    else:
        save_file(weights, path)
    return path


def upscalers_at(data: Path) -> Upscalers:
    """All upscalers of that folder, on the CPU."""
    return Upscalers(UpscalerFiles(Paths(data=data)), Networks(COMPUTE))
