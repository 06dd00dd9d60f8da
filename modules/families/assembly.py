"""Modules made without memory, then given the weights of a file."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from modules.core.errors import ModelFileError


@contextlib.contextmanager
def empty_weights() -> Iterator[None]:
    """Modules made inside have no memory until their weights are assigned."""
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        yield


def filled(module: nn.Module, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The module with its weights, ready for inference; raises ModelFileError for one that is missing or misshapen."""
    weights = {}
    for key, parameter in module.named_parameters():
        if key not in tensors:
            raise ModelFileError(
                f"The checkpoint lacks the weights {key}; it is damaged or not a whole model. Download it again."
            )
        if tensors[key].shape != parameter.shape:
            raise ModelFileError(
                f"The checkpoint's {key} is {tuple(tensors[key].shape)}, {tuple(parameter.shape)} is needed; "
                "it is no model of this kind."
            )
        weights[key] = tensors[key].to(device, dtype)
    module.load_state_dict(weights, strict=False, assign=True)
    for buffer_owner in module.modules():
        for name, buffer in buffer_owner.named_buffers(recurse=False):
            setattr(buffer_owner, name, buffer.to(device))
    return module.requires_grad_(False).eval()
