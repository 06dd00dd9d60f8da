"""The textual inversions on disk, as A1111's `/sdapi/v1/embeddings` lists them: read without torch, and without running what files name."""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from modules.core.errors import ModelFileError
from modules.library.embedding_pictures import PICTURES, TENSOR, read_hidden
from modules.library.header import open_regular, read_header
from modules.library.walk import Stamp, walk

SUFFIXES = (".pt", ".bin", ".safetensors", ".sft", *PICTURES)
MOST = 75
_MAX_PICKLE = 2**24


@dataclass(frozen=True, kw_only=True)
class EmbeddingEntry:
    """One of them. `width`: of all its text encoders' vectors together; the others as its trainer wrote them, if it did."""

    name: str
    path: Path
    vectors: int
    width: int
    step: int | None = None
    checkpoint: str | None = None
    checkpoint_name: str | None = None


Known = dict[tuple[str, Stamp], EmbeddingEntry | None]
"""What was read before, by path and stamp; None of what is no textual inversion."""


def list_embeddings(folders: Sequence[Path], known: Known | None = None) -> list[EmbeddingEntry]:
    """Those in the folders by name; of equal names the first folder's. Files that are none are left out. Never raises.

    What is in `known` is not read again, and what is read joins it.
    """
    found: dict[str, EmbeddingEntry] = {}
    known = {} if known is None else known
    for folder in folders:
        for seen in walk(folder, SUFFIXES):
            path = Path(seen.path)
            if seen.is_folder or path.stem.endswith(".preview"):
                continue
            key = seen.path, seen.stamp
            if key not in known:
                try:
                    known[key] = read_entry(path)
                except ModelFileError:
                    known[key] = None
            if entry := known[key]:
                found.setdefault(entry.name.casefold(), entry)
    return sorted(found.values(), key=lambda entry: entry.name.casefold())


def read_entry(path: Path) -> EmbeddingEntry | None:
    """What that file holds; None for a picture without. Raises ModelFileError."""
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        hidden = read_hidden(path)
        if hidden is None:
            return None
        told, shapes = hidden, _shapes(hidden.get("string_to_param"))
    elif suffix in (".safetensors", ".sft"):
        told, shapes = {}, read_header(path).shapes
    else:
        content = _pickled(path)
        told = content if isinstance(content, Mapping) else {}
        inner = told.get("string_to_param")
        shapes = _shapes(told if inner is None else getattr(inner, "held", inner))
    sizes = [(1, *shape)[-2:] for shape in shapes.values() if len(shape) in (1, 2)]
    if not sizes or len({n for n, _ in sizes}) > 1 or len(sizes) > 3 or not 1 <= sizes[0][0] <= MOST:
        raise ModelFileError(
            f'"{path.name}" is no textual inversion of 1 to {MOST} vectors. Take it out of the folder of embeddings.'
        )
    own = told.get("name") if suffix in PICTURES else None
    return EmbeddingEntry(
        name=own if isinstance(own, str) and own else path.stem,
        path=path,
        vectors=sizes[0][0],
        width=sum(width for _, width in sizes),
        step=_of(told, "step", int),
        checkpoint=_of(told, "sd_checkpoint", str),
        checkpoint_name=_of(told, "sd_checkpoint_name", str),
    )


def prompt_width(checkpoint: Path) -> int | None:
    """How wide the CLIPs of a checkpoint are together; None if its header does not tell."""
    try:
        shapes = read_header(checkpoint).shapes if checkpoint.suffix.lower() == ".safetensors" else {}
    except ModelFileError:
        return None
    widths = [s[1] for name, s in shapes.items() if name.endswith("token_embedding.weight") and len(s) == 2]
    return sum(widths) or None


def _of(told: Mapping[Any, Any], name: str, kind: type) -> Any:
    value = told.get(name)
    return value if isinstance(value, kind) else None


def _shapes(content: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a table."""
    found = {}
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, _Shape):
            found[str(key)] = value.sides
        elif isinstance(value, Mapping) and TENSOR in value:
            found[str(key)] = _sides(value[TENSOR])
    return found


def _sides(numbers: Any) -> tuple[int, ...]:
    return (len(numbers), *_sides(numbers[0])) if isinstance(numbers, list) and numbers else ()


@dataclass(frozen=True)
class _Shape:
    """Stands for a tensor."""

    sides: tuple[int, ...]


class _Table:
    """Stands for an object with parameters, or for whatever else is no table nor number."""

    held: Mapping[str, Any] = OrderedDict()

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        inner = state.get("_parameters") if isinstance(state, Mapping) else None
        if isinstance(inner, Mapping):
            self.held = inner


class _Reader(pickle.Unpickler):
    """Makes tables, numbers, and shapes of tensors; imports nothing that the file names."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name.startswith("_rebuild_tensor"):
            return lambda storage, offset, size, *_: _Shape(tuple(size))
        if module == "torch._utils" and name.startswith("_rebuild_parameter"):
            return lambda data, *_: data
        return _Table

    def persistent_load(self, pid: Any) -> None:
        """Numbers are not wanted."""


def _pickled(path: Path) -> Any:
    """What a pickled file holds, with shapes for tensors."""
    try:
        with open_regular(path) as file:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    inner = next(entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl"))
                    if inner.file_size > _MAX_PICKLE:
                        raise ValueError("too large")
                    with archive.open(inner) as content:
                        return _Reader(content).load()
            return _legacy(file)
    except ModelFileError:
        raise
    except Exception as error:  # pickle raises whatever a damaged file leads it to
        raise ModelFileError(f'"{path.name}" is incomplete or holds no tensors. Download it again.') from error


def _legacy(file: BinaryIO) -> Any:
    """torch's files of before 2020: a mark, a version and the machine's sizes stand before."""
    file.seek(0)
    for _ in range(3):
        _Reader(file).load()
    return _Reader(file).load()
