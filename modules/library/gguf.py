"""The header of a GGUF file, read without torch and without trust.

Layout (ggml's docs/gguf.md, versions 2 and 3, little-endian): the magic, a version, how many tensors and how many keys there are;
each key's name, type and value; each tensor's name, sizes (the fastest first), type and offset; padding; then the data.
"""

import math
import os
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from modules.core.errors import ModelFileError, short
from modules.library.header import MAX_TENSORS

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_HEADER = 32 * 2**20
MAX_KEYS, MAX_ITEMS, MAX_NESTING, MAX_DIMENSIONS, MAX_NAME = 4096, 1_500_000, 2, 4, 1024
MAX_TEXT = 4096  # of a value that is kept; longer ones are passed over
ALIGNMENT, SHAPE = "general.alignment", "comfy.gguf.orig_shape."
STRING, ARRAY = 8, 9

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}

TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    20: ("IQ4_NL", 32, 18),
    23: ("IQ4_XS", 256, 136),
    30: ("BF16", 1, 2),
}
"""Types of tensors that are read here: name, values in a block, bytes of a block."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """One tensor: its shape (the slowest first, as torch has it), its type's number, and where its bytes are in the file."""

    shape: tuple[int, ...]
    type: int
    start: int
    size: int


@dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """The tensors by name, and the keys whose values are short."""

    tensors: Mapping[str, Packed]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def architecture(self) -> str:
        """What `general.architecture` says."""
        return str(self.metadata.get("general.architecture", ""))


def read_gguf(path: Path) -> GgufHeader:
    """The header of the GGUF file at `path`; raises ModelFileError with one sentence for whatever is wrong with it."""
    try:
        with _opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            reader = _Reader(file.read(min(size, MAX_HEADER)), size)
    except OSError as error:
        raise ModelFileError(f'"{path.name}" cannot be read: {error.strerror}. Check the file.') from error
    try:
        return _parse(reader)
    except _Wrong as wrong:
        raise ModelFileError(f'"{path.name}" {wrong}') from wrong


class _Wrong(Exception):
    """The rest of a sentence that begins with the file's name."""


class _Reader:
    """Bytes one after another, never beyond those there are."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self.file_size = size
        self.position = 0
        self.items = MAX_ITEMS

    def take(self, count: int) -> memoryview:
        """The next `count` bytes."""
        end = self.position + count
        if end > len(self._data):
            if end > self.file_size:
                raise _Wrong(f"is incomplete: it has only {self.file_size} bytes. Download it again.")
            raise _Wrong(f"has a header of more than {MAX_HEADER // 2**20} MB and is not accepted. Download it again.")
        start, self.position = self.position, end
        return memoryview(self._data)[start:end]

    def number(self, form: str) -> Any:
        """The next number of that form."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> bytes:
        """The next string."""
        return bytes(self.take(self.number("<Q")))

    def skip_text(self) -> None:
        """Pass over a string."""
        self.take(self.number("<Q"))


def _parse(reader: _Reader) -> GgufHeader:
    magic = bytes(reader.take(min(4, reader.file_size)))
    if magic != MAGIC:
        page = magic.lstrip()[:1] == b"<"
        raise _Wrong(
            "is a web page, not a model (was a login needed?). Download it again."
            if page
            else "is no GGUF file: it does not begin with GGUF. Download it again."
        )
    version = reader.number("<I")
    if version not in VERSIONS:
        raise _Wrong(
            f"is GGUF of version {version}: versions 2 and 3 in little-endian order are read. Get a newer file."
        )
    tensors, keys = reader.number("<Q"), reader.number("<Q")
    if tensors > MAX_TENSORS or keys > MAX_KEYS:
        raise _Wrong(f"lists {tensors} tensors and {keys} keys, at most {MAX_TENSORS} and {MAX_KEYS} are accepted.")
    metadata = {}
    for _ in range(keys):
        name = _name(reader)
        value = _value(reader, reader.number("<I"))
        if value is not None:
            metadata[name] = value
    found = dict(_tensors(reader, tensors, metadata))
    if not found:
        raise _Wrong("holds no weights. Choose another file.")
    return GgufHeader(tensors=found, metadata=metadata)


def _tensors(reader: _Reader, count: int, metadata: Mapping[str, Any]) -> Iterator[tuple[str, Packed]]:
    told: dict[str, tuple[tuple[int, ...], int, int]] = {}
    for _ in range(count):
        name = _name(reader)
        dimensions = reader.number("<I")
        if dimensions > MAX_DIMENSIONS:
            raise _Wrong(
                f"has a damaged header: the tensor {short(name)} has {dimensions} dimensions. Download it again."
            )
        sizes = tuple(reader.number("<Q") for _ in range(dimensions))
        if name in told:
            raise _Wrong(f"has a damaged header: it lists {short(name)} twice. Download it again.")
        told[name] = (sizes[::-1], reader.number("<I"), reader.number("<Q"))
    alignment = metadata.get(ALIGNMENT, 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 2**20:
        raise _Wrong(f"has a damaged header: its alignment is {short(alignment)}. Download it again.")
    data = math.ceil(reader.position / alignment) * alignment
    for name, (shape, type_, offset) in told.items():
        yield name, _packed(name, shape, type_, data + offset, reader.file_size, metadata)


def _packed(
    name: str, shape: tuple[int, ...], type_: int, start: int, file_size: int, metadata: Mapping[str, Any]
) -> Packed:
    if type_ not in TYPES:
        known = ", ".join(label for label, *_ in TYPES.values())
        raise _Wrong(f"packs {short(name)} as type {type_}, which is not read here. Get one packed as {known}.")
    _, block, block_size = TYPES[type_]
    values = math.prod(shape)
    if values == 0 or (shape and shape[-1] % block):
        raise _Wrong(f"has a damaged header: {short(name)} of shape {shape} does not fill blocks of {block}.")
    size = values // block * block_size
    if start + size > file_size:
        raise _Wrong(f"is incomplete: {start + size} bytes were expected, {file_size} are there. Download it again.")
    own = metadata.get(SHAPE + name)
    if isinstance(own, tuple) and all(isinstance(n, int) and n > 0 for n in own) and math.prod(own) == values:
        shape = own
    return Packed(shape=shape, type=type_, start=start, size=size)


def _name(reader: _Reader) -> str:
    text = reader.text()
    if len(text) > MAX_NAME:
        raise _Wrong(f"has a damaged header: a name has {len(text)} bytes. Download it again.")
    return text.decode(errors="replace")


def _value(reader: _Reader, type_: int, depth: int = 0) -> Any:
    """The next value: a number, a text, a short tuple of numbers, or None for one that is passed over."""
    if type_ in _SCALARS:
        return reader.number(_SCALARS[type_])
    if type_ == STRING:
        text = reader.text()
        return text.decode(errors="replace") if len(text) <= MAX_TEXT else None
    if type_ != ARRAY or depth >= MAX_NESTING:
        raise _Wrong(f"has a damaged header: a value is of type {type_}. Download it again.")
    inner, count = reader.number("<I"), reader.number("<Q")
    if inner in _SCALARS:
        data = reader.take(count * struct.calcsize(_SCALARS[inner]))
        return struct.unpack(f"<{count}{_SCALARS[inner][1]}", data) if count <= 16 else None
    reader.items -= count
    if reader.items < 0:
        raise _Wrong(f"has a damaged header: it holds lists of more than {MAX_ITEMS} items. Download it again.")
    for _ in range(count):
        reader.skip_text() if inner == STRING else _value(reader, inner, depth + 1)
    return None


def _opened(path: Path) -> BinaryIO:
    """Open a file, never waiting for one that is no regular file to be written to."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(None, "it is not a regular file")
    return os.fdopen(descriptor, "rb")
