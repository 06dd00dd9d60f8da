"""What a model takes of a device's memory, and where it stands."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.families.kinds import Family
from modules.families.ldm_keys import VAE
from modules.families.model import LoadedModel, modules_inside
from modules.families.source import BACKBONE, Shapes

GIB = 2**30


def bytes_of(family: Family, shapes: Shapes, compute: Compute) -> int:
    """Bytes that a model of these tensors has in memory; tensors that belong to none of its parts are not loaded."""
    return sum(_bytes(name, shapes[name], compute) for name in _used(family, shapes))


def sizes(
    family: Family, tensors: Mapping[str, Tensor], compute: Compute, but: tuple[str, ...] = ()
) -> tuple[int, int]:
    """Bytes that a model has in memory, `but` those behind some prefixes, and how many of them are a copy of its file's.

    On the CPU weights in the wanted precision stay where they are, in the memory-mapped file. Packed ones stay packed.
    """
    need = own = 0
    for name in _used(family, {name: tuple(tensor.shape) for name, tensor in tensors.items()}):
        if name.startswith(but):
            continue
        tensor, dtype = tensors[name], _dtype(name, compute)
        packed = not tensor.is_floating_point()
        size = tensor.nbytes if packed else _bytes(name, tuple(tensor.shape), compute)
        need += size
        copied = tensor.dtype != dtype or compute.float8
        own += size if compute.device.type != "cpu" or (copied and not packed) else 0
    return need, own


def largest_of(family: Family, shapes: Shapes, compute: Compute, but: tuple[str, ...] = ()) -> int:
    """Bytes of the largest of its networks, `but` those behind some prefixes."""
    prefixes = {BACKBONE, *family.parts(shapes).values()}.difference(but)
    sums = (sum(_bytes(n, shapes[n], compute) for n in shapes if n.startswith(prefix)) for prefix in prefixes)
    return max(sums, default=0)


def modules_of(model: LoadedModel) -> list[nn.Module]:
    """The networks of a model: the denoising one, the autoencoder, and the text encoders inside its prompts."""
    return [model.backbone, model.autoencoder.module, *modules_inside(model.prompts)]


def packable(model: LoadedModel) -> list[nn.Module]:
    """Its networks whose weights may be rounded: all but the autoencoder."""
    return [module for module in modules_of(model) if module is not model.autoencoder.module]


def networks_of(model: LoadedModel) -> list[Any]:
    """The parts of a model that draw: the denoising one, or what stands for it, and the autoencoder."""
    return [model.backbone, model.autoencoder.module]


def place(model: LoadedModel, device: torch.device) -> None:
    """Move the networks of a model."""
    for module in modules_of(model):
        module.to(device)


def gigabytes(size: int) -> str:
    """A size for people."""
    return f"{size / GIB:,.1f} GB"


def _used(family: Family, shapes: Shapes) -> Iterator[str]:
    prefixes = (BACKBONE, *family.parts(shapes).values())
    return (name for name in shapes if name.startswith(prefixes))


def _dtype(name: str, compute: Compute) -> torch.dtype:
    return compute.vae_dtype if name.startswith(VAE) else compute.dtype


def _bytes(name: str, shape: tuple[int, ...], compute: Compute) -> int:
    small = compute.float8 and not compute.compiled and len(shape) > 1 and not name.startswith(VAE)
    size = 1 if small else _dtype(name, compute).itemsize
    for side in shape:
        size *= side
    return size
