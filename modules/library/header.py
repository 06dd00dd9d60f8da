"""The header of a safetensors file, read without torch and without trust.

Layout: 8 bytes little-endian header length N, N bytes of JSON {name: {dtype, shape, data_offsets}}, then the data.
"""

import json
import os
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path

from modules.core.errors import ModelFileError

MAX_HEADER = 16 * 2**20
MAX_TENSORS = 50_000


@dataclass(frozen=True, kw_only=True)
class Header:
    """Names and shapes of the tensors, and the free-text metadata."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """The header of `path`; raises ModelFileError with one sentence for whatever is wrong with the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError as error:
        raise ModelFileError(
            f'"{path.name}" is not there any more. Choose another checkpoint or put the file back.'
        ) from error
    except OSError as error:
        raise ModelFileError(f'"{path.name}" cannot be read: {error.strerror}. Check its permissions.') from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ModelFileError(f'"{path.name}" is not a regular file. Replace it by the model file itself.')
    with os.fdopen(descriptor, "rb") as file:
        first = file.read(8)
        if len(first) < 8:
            raise ModelFileError(f'"{path.name}" is incomplete: it has only {status.st_size} bytes. Download it again.')
        length = struct.unpack("<Q", first)[0]
        if length > min(MAX_HEADER, status.st_size - 8):
            raise _not_safetensors(path, first, length, status.st_size)
        return _parse(path, file.read(length), status.st_size - 8 - length)


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
        entries = json.loads(text)
        metadata = entries.pop("__metadata__", {})
        if len(entries) > MAX_TENSORS:
            raise ModelFileError(f'"{path.name}" lists {len(entries)} tensors, at most {MAX_TENSORS} are accepted.')
        shapes = {name: tuple(_size(n) for n in entry["shape"]) for name, entry in entries.items()}
        end = max((_end(*entry["data_offsets"]) for entry in entries.values()), default=0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise ModelFileError(f'"{path.name}" has a damaged header and cannot be read. Download it again.') from error
    if end > data_size:
        raise ModelFileError(
            f'"{path.name}" is incomplete: {end} bytes of weights were expected, {data_size} are there. Download it again.'
        )
    strings = {str(k): v for k, v in metadata.items() if isinstance(v, str)} if isinstance(metadata, dict) else {}
    return Header(shapes=shapes, metadata=strings)


def _size(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError("not a size")
    return number


def _end(begin: object, end: object) -> int:
    if _size(begin) > _size(end):
        raise ValueError("it ends before it begins")
    return _size(end)
