"""Weight files in true layouts, seeded and small: every tensor is a view of a few random numbers, so that 500 MB take 1 MB of disk."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modules.control.preprocessors.networks import quiet, without_memory


def laid_out(make: Callable[[], Any], seed: int = 0) -> dict[str, Tensor]:
    """Random tensors with the names and shapes of that network's."""
    network = without_memory(make)
    if network is None:
        with quiet():
            network = make()
    shapes = network.state_dict()
    random = torch.Generator().manual_seed(seed)
    return {name: _tensor(name, tensor, random) for name, tensor in shapes.items()}


def _tensor(name: str, like: Tensor, random: torch.Generator) -> Tensor:
    if not like.is_floating_point() or not like.dim():
        return torch.zeros(like.shape, dtype=like.dtype)
    numbers = torch.randn(sum(like.shape) + 1, generator=random)
    fan = max(like[0].numel(), 1)
    numbers = numbers.abs() + 0.5 if name.endswith("running_var") else numbers / fan**0.5
    return numbers.as_strided(like.shape, (1,) * like.dim())


def write(path: Path, tensors: Any) -> Path:
    """As a .pth file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, path)
    return path


def write_folder(folder: Path, network: Any, *beside: Any) -> Path:
    """As a folder of transformers: the network, and its processor, tokenizer ... beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(None), quiet():
        for part in (network, *beside):
            part.save_pretrained(folder)
    return folder
