"""Writes a safetensors file tensor by tensor: in memory there is never more of it than one tensor.

Layout: 8 bytes little-endian header length N, N bytes of JSON {name: {dtype, shape, data_offsets}}, then the data.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from modules.core.errors import StorageError
from modules.core.files import storage_sentence, sync_folder

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
SPARE = 64 * 2**20
"""Bytes that stay free on the disk."""
PIECE = 2**24
"""Bytes that are written and hashed at once."""

Form = tuple[torch.dtype, tuple[int, ...]]
"""What a tensor will be: its dtype and its shape."""


class Writer:
    """A file in the making, as a context: there whole after its block, and not at all if that raises.

    `forms` says what every tensor will be; they are written in the order of `names`, each once. `sha256` is the file's, afterwards.
    Raises StorageError: before anything is written if the disk has too little room (`twice`: room for a second copy too).
    """

    def __init__(
        self,
        path: Path,
        temporary: Path,
        forms: Mapping[str, Form],
        metadata: Mapping[str, str],
        *,
        twice: bool = False,
    ) -> None:
        self.path = path
        self.names = sorted(forms, key=lambda name: (-forms[name][0].itemsize, name))  # so that every tensor is aligned
        self.sha256 = ""
        self._temporary = temporary
        self._forms = forms
        self._head = header_of(self.names, forms, metadata)
        self._digest = hashlib.sha256()
        self._left = list(reversed(self.names))
        self.size = len(self._head) + sum(_bytes(form) for form in forms.values())
        self._needed = self.size * (2 if twice else 1)

    def __enter__(self) -> "Writer":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.unlink(missing_ok=True)  # of a try that was killed
            check_room(self.path.parent, self._needed)
            self._file = self._temporary.open("wb")
        except OSError as error:
            raise StorageError(storage_sentence(error, self.path.parent)) from error
        try:
            self._put(self._head)
        except BaseException:
            self._drop()
            raise
        return self

    def write(self, tensor: Tensor) -> None:
        """The next tensor of `names`; of the form that was said."""
        name = self._left.pop()
        if (tensor.dtype, tuple(tensor.shape)) != self._forms[name]:
            raise ValueError(f"{name} is {tensor.dtype} {tuple(tensor.shape)}, {self._forms[name]} was said")
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        for piece in flat.split(PIECE):
            self._put(piece.numpy().data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._drop()
            return
        try:
            if self._left:
                raise ValueError(f"{len(self._left)} tensors were not written, {self._left[-1]} first")
            self._finish()
        except OSError as wrong:
            self._drop()
            raise StorageError(storage_sentence(wrong, self.path.parent)) from wrong
        except BaseException:
            self._drop()
            raise
        self.sha256 = self._digest.hexdigest()

    def _finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self.path)
        sync_folder(self.path.parent)

    def _put(self, data: "bytes | memoryview") -> None:
        self._digest.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise StorageError(storage_sentence(error, self.path.parent)) from error

    def _drop(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)


def check_room(folder: Path, needed: int) -> None:
    """Raise StorageError, saying what is needed and what is there, unless `folder`'s disk takes so many bytes."""
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise StorageError(
            f'The result needs {needed / 1e9:.2f} GB, and the disk that holds "{folder}" has {free / 1e9:.2f} GB free. Free some space and try again.'
        )


def temporary_of(path: Path, job: str) -> Path:
    """Where that job writes what becomes `path`; one place a job, so that a second try takes the first one's away."""
    return path.with_name(f".atelier-{job}.tmp")


def header_of(names: list[str], forms: Mapping[str, Form], metadata: Mapping[str, str]) -> bytes:
    """The length and the JSON with which a file of these tensors, in that order, begins."""
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name in names:
        dtype, shape = forms[name]
        end = offset + _bytes(forms[name])
        entries[name] = {"dtype": DTYPES[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _bytes(form: Form) -> int:
    return form[0].itemsize * math.prod(form[1])
