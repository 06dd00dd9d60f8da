"""Modules made without memory, then given the weights of a file."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from modules.core.errors import ModelFileError
from modules.families.packed import settled


@contextlib.contextmanager
def empty_weights() -> Iterator[None]:
    """Modules made inside have no memory until their weights are assigned."""
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        yield


def needed(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """The tensor of that name, which sizes are read off; raises ModelFileError."""
    if name not in tensors:
        raise ModelFileError(
            f"The checkpoint lacks the weights {name}; it is damaged or not a whole model. Download it again."
        )
    return tensors[name]


def count_of(tensors: Mapping[str, Tensor], blocks: str) -> int:
    """How many blocks there are in the list of that name."""
    pattern = re.compile(re.escape(blocks) + r"\.(\d+)\.")
    return 1 + max((int(match[1]) for name in tensors if (match := pattern.match(name))), default=-1)


def converted(
    convert: Callable[[dict[str, Tensor]], Mapping[str, Tensor | None]], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What a function of diffusers makes of a network's original names; raises ModelFileError for a tensor it misses."""
    try:
        found = convert(dict(tensors))
    except KeyError as error:
        raise ModelFileError(
            f"The checkpoint lacks the weights {error.args[0]}; it is damaged or not a whole model. Download it again."
        ) from error
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def filled(module: nn.Module, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The module with its weights, ready for inference; raises ModelFileError for one that is missing or misshapen."""
    weights = {}
    for key, parameter in module.named_parameters():
        tensor = needed(tensors, key)
        if tensor.shape != parameter.shape:
            raise ModelFileError(
                f"The checkpoint's {key} is {tuple(tensor.shape)}, {tuple(parameter.shape)} is needed; "
                "it is no model of this kind."
            )
        owner = module.get_submodule(key.rpartition(".")[0])
        weights[key] = settled(tensor, device, dtype, linear=isinstance(owner, nn.Linear))
    module.load_state_dict(weights, strict=False, assign=True)
    for buffer_owner in module.modules():
        for name, buffer in buffer_owner.named_buffers(recurse=False):
            setattr(buffer_owner, name, buffer.to(device))
    return module.requires_grad_(False).eval()
