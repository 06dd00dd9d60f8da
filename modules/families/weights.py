"""The tensors of a model file, whatever its format: safetensors memory-mapped, `.ckpt` through a reader that runs no code."""

import os
import pickle
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from modules.core.errors import ModelFileError
from modules.library.header import MAX_TENSORS, Header, read_header

PICKLED = (".ckpt", ".pt", ".pth", ".bin")

_HARMLESS = {
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch.nn.parameter", "Parameter"),
}
"""What a pickle of tensors needs. Anything else that it names becomes an `_Inert`: old checkpoints hold their trainer's state."""


class _Inert:
    """Stands for whatever a pickle wants made that is no tensor; takes everything, does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None:
        """As of a list."""

    def extend(self, values: Any) -> None:
        """As of a list."""


class _Unpickler(pickle.Unpickler):
    """Makes tensors, dictionaries, lists and plain values; imports nothing that the file names."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _HARMLESS or (
            module == "torch" and (name.endswith("Storage") or isinstance(getattr(torch, name, None), torch.dtype))
        ):
            return super().find_class(module, name)
        return _Inert


def _load(file: Any, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


_PICKLE = SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__="harmless pickle")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, memory-mapped where its format allows; raises ModelFileError with one sentence."""
    if path.suffix.lower() in PICKLED:
        return _unpickled(path)
    read_header(path)
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # safetensors raises a class of its own
        raise ModelFileError(f'"{path.name}" cannot be read: {error}. Download it again.') from error


def shapes_of(path: Path) -> Header:
    """Names and shapes of the tensors of a file, and its metadata; raises ModelFileError."""
    if path.suffix.lower() not in PICKLED:
        return read_header(path)
    return Header(shapes={name: tuple(tensor.shape) for name, tensor in _unpickled(path).items()})


def _unpickled(path: Path) -> dict[str, Tensor]:
    _check_regular(path)
    with path.open("rb") as file:
        first = file.read(16)
    if first.lstrip()[:1] == b"<":
        raise ModelFileError(f'"{path.name}" is a web page, not a model (was a login needed?). Download it again.')
    options: dict[str, Any] = {"map_location": "cpu", "weights_only": False, "pickle_module": _PICKLE}
    try:
        content = torch.load(path, mmap=zipfile.is_zipfile(path), **options)
    except Exception as error:  # torch and pickle raise whatever a damaged file leads them to
        raise ModelFileError(
            f'"{path.name}" is incomplete or no checkpoint ({type(error).__name__}). Download it again, best as .safetensors.'
        ) from error
    tensors = _tensors(content)
    if not tensors:
        raise ModelFileError(f'"{path.name}" holds no weights. Choose another file.')
    return tensors


def _tensors(content: Any) -> dict[str, Tensor]:
    """The named tensors of what was unpickled: itself, or its `state_dict`."""
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        return {}
    found = {str(name): value.detach() for name, value in content.items() if isinstance(value, Tensor)}
    return found if len(found) <= MAX_TENSORS else {}


def _check_regular(path: Path) -> None:
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116  # does not open what may block
    except OSError as error:
        raise ModelFileError(
            f'"{path.name}" cannot be read: {error.strerror}. Choose another checkpoint or put the file back.'
        ) from error
    if not regular:
        raise ModelFileError(f'"{path.name}" is not a regular file. Replace it by the model file itself.')
