"""The header of a safetensors file, read without torch and without trust.

Layout: 8 bytes little-endian header length N, N bytes of JSON {name: {dtype, shape, data_offsets}}, then the data.
"""

import json
import math
import os
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from modules.core.errors import ModelFileError, short

MAX_HEADER = 16 * 2**20
MAX_TENSORS = 50_000
MAX_SIDES = 16
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Of a number of each type that safetensors knows."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """Names and shapes of the tensors, and the free-text metadata."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """The header of `path`; raises ModelFileError with one sentence for whatever is wrong with the file."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        first = file.read(8)
        if len(first) < 8:
            raise ModelFileError(f'"{path.name}" is incomplete: it has only {size} bytes. Download it again.')
        length = struct.unpack("<Q", first)[0]
        if length > min(MAX_HEADER, size - 8):
            raise _not_safetensors(path, first, length, size)
        return _parse(path, file.read(length), size - 8 - length)


def read_start(path: Path, length: int) -> tuple[bytes, int]:
    """The first bytes of a file and its size; raises ModelFileError."""
    with open_regular(path) as file:
        return file.read(length), os.fstat(file.fileno()).st_size


def open_regular(path: Path) -> BinaryIO:
    """`path` opened for reading, unless it is something to wait for, such as a pipe; raises ModelFileError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise ModelFileError(
            f'"{path.name}" is not there any more. Choose another checkpoint or put the file back.'
        ) from error
    except OSError as error:
        raise ModelFileError(f'"{path.name}" cannot be read: {error.strerror}. Check its permissions.') from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ModelFileError(f'"{path.name}" is not a regular file. Replace it by the model file itself.')
    return os.fdopen(descriptor, "rb")


def _not_safetensors(path: Path, first: bytes, length: int, size: int) -> ModelFileError:
    if first.lstrip()[:1] == b"<":
        return ModelFileError(f'"{path.name}" is a web page, not a model (was a login needed?). Download it again.')
    if first[:2] == b"PK" or first[:1] == b"\x80":
        return ModelFileError(
            f'"{path.name}" is a pickle file under the wrong name, not a safetensors file. Get the .safetensors version.'
        )
    if length <= MAX_HEADER:
        return ModelFileError(
            f'"{path.name}" is incomplete: its header wants {length} bytes, the file has {size}. Download it again.'
        )
    return ModelFileError(
        f'"{path.name}" is not a valid safetensors file: its header would be {length} bytes long. Download it again.'
    )


def _parse(path: Path, text: bytes, data_size: int) -> Header:
    try:
        entries = json.loads(text, object_pairs_hook=_unrepeated)
        metadata = entries.pop("__metadata__", {})
        if len(entries) > MAX_TENSORS:
            raise ModelFileError(f'"{path.name}" lists {len(entries)} tensors, at most {MAX_TENSORS} are accepted.')
        shapes = {name: _shape(entry["shape"]) for name, entry in entries.items()}
        end = max((_end(*entry["data_offsets"]) for entry in entries.values()), default=0)
    except _Repeated as error:
        raise ModelFileError(f'"{path.name}" names {error} twice in its header. Download it again.') from error
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise ModelFileError(f'"{path.name}" has a damaged header and cannot be read. Download it again.') from error
    if end > data_size:
        raise ModelFileError(
            f'"{path.name}" is incomplete: {end} bytes of weights were expected, {data_size} are there. Download it again.'
        )
    _check_layout(path, entries, shapes, data_size)
    strings = {str(k): v for k, v in metadata.items() if isinstance(v, str)} if isinstance(metadata, dict) else {}
    return Header(shapes=shapes, metadata=strings)


def _check_layout(path: Path, entries: dict[str, Any], shapes: dict[str, tuple[int, ...]], data_size: int) -> None:
    """Raise ModelFileError unless the tensors fill the data without gaps, each as long as its shape says."""
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        dtype = entry.get("dtype")
        if not isinstance(dtype, str) or dtype not in BITS:
            raise ModelFileError(
                f'"{path.name}" holds numbers of the unknown type {short(dtype)} in {short(name)}. Get another version of the file.'
            )
        if begin != at:
            words = "overlaps another one" if begin < at else "leaves a gap before it"
            raise ModelFileError(f'"{path.name}" is damaged: its tensor {short(name)} {words}. Download it again.')
        if math.prod(shapes[name]) * BITS[dtype] != (end - begin) * 8:
            raise ModelFileError(
                f'"{path.name}" is damaged: its tensor {short(name)} is not as long as its shape. Download it again.'
            )
        at = end
    if at != data_size:
        raise ModelFileError(
            f'"{path.name}" is damaged: {data_size - at} bytes follow that belong to no tensor. Download it again.'
        )


class _Repeated(Exception):
    """A name that an object has twice: programs would differ in which of both they take."""


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Repeated(short(next(name for i, (name, _) in enumerate(pairs) if name in dict(pairs[:i]))))
    return found


def _shape(sides: list[object]) -> tuple[int, ...]:
    if len(sides) > MAX_SIDES:
        raise ValueError("no tensor has so many sides")
    return tuple(_size(side) for side in sides)


def _size(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError("not a size")
    return number


def _end(begin: object, end: object) -> int:
    if _size(begin) > _size(end):
        raise ValueError("it ends before it begins")
    return _size(end)
