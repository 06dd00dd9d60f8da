"""Network files for the tiny model of tests/tiny.py, of seeded random numbers."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.tiny import tiny_parts


def layers(*, text: bool = True) -> dict[str, nn.Linear]:
    """The matrices of the tiny model's attention, and of its text encoder's, by kohya's names."""
    parts = tiny_parts()
    found: dict[str, nn.Linear] = {
        f"lora_unet_{name.replace('.', '_')}": module
        for name, module in parts["unet"].named_modules()
        if isinstance(module, nn.Linear) and ".attn" in name
    }
    if text:
        for name, module in parts["text"].named_modules():
            if isinstance(module, nn.Linear) and "encoder.layers" in name:
                path = "text_model." + name.removeprefix("text_model.")
                found[f"lora_te_{path.replace('.', '_')}"] = module
    return found


def lora(name: str, module: nn.Linear, rank: int = 2, seed: int = 0) -> dict[str, Tensor]:
    """kohya's tensors for one matrix."""
    out, into = module.weight.shape
    torch.manual_seed(seed + out + 7 * into + len(name))
    return {
        f"{name}.lora_down.weight": torch.randn(rank, into) / 4,
        f"{name}.lora_up.weight": torch.randn(out, rank),
        f"{name}.alpha": torch.tensor(float(rank)),
    }


def write_lora(path: Path, *, seed: int = 0, text: bool = True, metadata: Mapping[str, str] | None = None) -> Path:
    """A LoRA for all of them."""
    tensors: dict[str, Tensor] = {}
    for name, module in layers(text=text).items():
        tensors |= lora(name, module, seed=seed)
    return write(path, tensors, metadata)


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """A safetensors file of those."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata=dict(metadata or {}))
    return path
