"""Saves what is made tensor by tensor, as a safetensors or a .ckpt file: whole or not at all."""

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from modules.core.errors import StorageError
from modules.core.files import storage_sentence, sync_folder
from modules.merging.writer import Form, Writer, temporary_of

Tell = Callable[[int, int], None]
"""Is told how many bytes of how many are done, and may raise to stop."""


def save(
    path: Path,
    job: str,
    forms: Mapping[str, Form],
    make: Callable[[str], Tensor],
    metadata: Mapping[str, str],
    tell: Tell,
) -> str | None:
    """Write the tensors that `make` makes of their names to `path`, .safetensors or .ckpt; the sha256 if it is known.

    Holds one of them in memory at a time. Raises StorageError and whatever `make` and `tell` raise; nothing is left then.
    """
    if path.suffix == ".ckpt":
        return _save_pickled(path, job, forms, make, tell)
    with Writer(path, temporary_of(path, job), forms, metadata) as writer:
        _write(writer, make, tell)
    return writer.sha256


def _write(writer: Writer, make: Callable[[str], Tensor], tell: Tell) -> None:
    done = 0
    for name in writer.names:
        tell(done, writer.size)
        tensor = make(name)
        writer.write(tensor)
        done += tensor.nbytes


def _save_pickled(path: Path, job: str, forms: Mapping[str, Form], make: Callable[[str], Tensor], tell: Tell) -> None:
    """By way of a safetensors file beside it: torch writes a whole model at once, and from a mapped file it can."""
    middle, temporary = temporary_of(path, f"{job}-1"), temporary_of(path, f"{job}-2")
    try:
        with Writer(middle, temporary_of(path, job), forms, {}, twice=True) as writer:
            _write(writer, make, tell)
        tell(writer.size, writer.size)
        from safetensors.torch import load_file

        try:
            # what is empty has its neighbour's address in a mapped file, and torch takes it for that
            mapped = {name: t if t.numel() else torch.empty_like(t) for name, t in load_file(middle).items()}
            with temporary.open("wb") as file:
                torch.save(mapped, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        except (OSError, RuntimeError) as error:  # torch tells of a full disk as a RuntimeError
            reason = error if isinstance(error, OSError) else _cause(error)
            raise StorageError(storage_sentence(reason, path.parent)) from error
    finally:
        for left in (middle, temporary):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)


def _cause(error: RuntimeError) -> OSError:
    found = error.__cause__ or error.__context__
    return found if isinstance(found, OSError) else OSError(str(error))
