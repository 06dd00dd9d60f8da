"""The tensors of a model file, whatever its format: safetensors and GGUF memory-mapped, `.ckpt` through a reader that runs no code."""

import os
import pickle
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from modules.core.errors import ModelFileError, UnsafeModelFile
from modules.families.gguf_weights import read_gguf_header, read_gguf_weights
from modules.families.scaled import MARKS, SCALES, refuse_packings, unscaled
from modules.library.header import MAX_TENSORS, Header, read_header

GGUF = ".gguf"
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


_NEVER = frozenset(
    {"os", "posix", "nt", "subprocess", "sys", "runpy", "importlib", "socket", "shutil", "pty", "ctypes", "webbrowser"}
)
_NEVER_BUILT_IN = frozenset({"eval", "exec", "compile", "open", "__import__", "breakpoint", "input"})
"""What no trainer leaves in a checkpoint. The reader would not run it either; but who names it means harm, and is told of."""

MAX_RATIO = 100
"""How much larger than its archive its content may be: torch packs nothing, so that a bomb stands out."""


INSIDE = ("model_state_dict", "state_dict", "params_ema", "params-ema", "params", "model", "net")
"""Where trainers put the weights: those of checkpoints, of upscalers (averaged ones first), of others."""


class _Unsafe(Exception):
    """A pickle that names code to be run."""


class _Inert:
    """Stands for whatever a pickle wants made that is no tensor; takes everything, does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None:
        """As of a list."""

    def extend(self, values: Any) -> None:
        """As of a list."""


class ParameterTable(_Inert):
    """What a pickled torch.nn.ParameterDict held: its parameters by name."""

    parameters: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: Any) -> None:
        held = state.get("_parameters", {}) if isinstance(state, Mapping) else {}
        self.parameters = dict(held) if isinstance(held, Mapping) else {}


class _Unpickler(pickle.Unpickler):
    """Makes tensors, dictionaries, lists and plain values; imports nothing that the file names."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _HARMLESS or (
            module == "torch" and (name.endswith("Storage") or isinstance(getattr(torch, name, None), torch.dtype))
        ):
            return super().find_class(module, name)
        if name == "ParameterDict" and module.startswith("torch.nn.modules."):
            return ParameterTable
        if module.split(".")[0] in _NEVER or (module in ("builtins", "__builtin__") and name in _NEVER_BUILT_IN):
            raise _Unsafe(f"{module}.{name}")
        return _Inert


def _load(file: Any, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


_PICKLE = SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__="harmless pickle")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, memory-mapped where its format allows; raises ModelFileError with one sentence."""
    if path.suffix.lower() in PICKLED:
        return _unpickled(path)
    if path.suffix.lower() == GGUF:
        return read_gguf_weights(path)
    refuse_packings(path.name, read_header(path).shapes)
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except Exception as error:  # safetensors raises a class of its own
        raise ModelFileError(f'"{path.name}" cannot be read: {error}. Download it again.') from error
    return unscaled(tensors)


def shapes_of(path: Path) -> Header:
    """Names and shapes of the tensors of a file, and its metadata; raises ModelFileError."""
    if path.suffix.lower() == GGUF:
        return read_gguf_header(path)
    if path.suffix.lower() not in PICKLED:
        header = read_header(path)
        refuse_packings(path.name, header.shapes)
        kept = {name: shape for name, shape in header.shapes.items() if not name.endswith((*SCALES, *MARKS))}
        return Header(shapes=kept, metadata=header.metadata)
    return Header(shapes={name: tuple(tensor.shape) for name, tensor in _unpickled(path).items()})


def _unpickled(path: Path) -> dict[str, Tensor]:
    tensors = _tensors(read_pickled(path))
    if not tensors:
        raise ModelFileError(f'"{path.name}" holds no weights. Choose another file.')
    return tensors


def read_pickled(path: Path) -> Any:
    """What a pickled file holds: tables, lists, tensors and plain values; whatever else it wants made does nothing. Raises
    ModelFileError, or UnsafeModelFile for one that names code to be run."""
    _check_regular(path)
    with path.open("rb") as file:
        first = file.read(16)
    if first.lstrip()[:1] == b"<":
        raise ModelFileError(f'"{path.name}" is a web page, not a model (was a login needed?). Download it again.')
    if first[8:9] == b"{":
        raise ModelFileError(
            f'"{path.name}" looks like a safetensors file under the wrong name. Rename it to "{path.stem}.safetensors".'
        )
    options: dict[str, Any] = {"map_location": "cpu", "weights_only": False, "pickle_module": _PICKLE}
    try:
        _check_archive(path)
        return torch.load(path, mmap=zipfile.is_zipfile(path), **options)
    except ModelFileError:
        raise
    except _Unsafe as error:
        raise UnsafeModelFile(
            f'"{path.name}" names {error}, code that was to be run when it is opened; it was not. Delete it, and get the model as .safetensors.'
        ) from error
    except Exception as error:  # torch and pickle raise whatever a damaged file leads them to
        raise ModelFileError(
            f'"{path.name}" is incomplete or no checkpoint ({type(error).__name__}). Download it again, best as .safetensors.'
        ) from error


def _check_archive(path: Path) -> None:
    """Raise ModelFileError for an archive whose content is far larger than itself."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MAX_RATIO * path.stat().st_size:
        raise ModelFileError(
            f'"{path.name}" would unpack to {size / 2**30:,.1f} GB, over {MAX_RATIO} times its size: it is no checkpoint. Delete it.'
        )


def _tensors(content: Any) -> dict[str, Tensor]:
    """The named tensors of what was unpickled: itself, or the first of INSIDE that it has."""
    if isinstance(content, Mapping):
        content = next((content[key] for key in INSIDE if isinstance(content.get(key), Mapping)), content)
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
