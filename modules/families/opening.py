"""From a checkpoint's file or folder, and the files that complete it, to what a family builds its model from."""

import json
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from modules.core.errors import ModelFileError
from modules.devices.choice import Compute
from modules.families import naming
from modules.families.fitting import Wanted, Wish, check_vae, find_files, used_names
from modules.families.folder import is_folder, read_folder, read_folder_header
from modules.families.kinds import Family, family_of, missing_parts, names
from modules.families.ldm_keys import VAE
from modules.families.pieces import describe
from modules.families.source import Shapes, Source, without_prefix
from modules.families.tokenizers import Tokenizers
from modules.families.weights import read_weights, shapes_of
from modules.library.checkpoints import Checkpoint
from modules.library.header import Header
from modules.library.prediction import read_prediction
from modules.library.shelf import Shelf


def open_checkpoint(
    checkpoint: Checkpoint,
    compute: Compute,
    shelf: Shelf | None = None,
    wish: Wish | None = None,
    on_read: Callable[[str], None] = lambda _: None,
) -> tuple[Family, Source]:
    """Its family and what that builds it from, its missing parts found among the user's files.

    `on_read` is told of tokenizers that are fetched. Raises ModelFileError or InputError, before a weight is read, for what is no
    model or cannot be completed.
    """
    shelf, wish = shelf or Shelf(), wish or Wish()
    header = header_of(checkpoint.path)
    family = family_for(checkpoint, header)
    wanted = _wanted(checkpoint, family, header.shapes)
    files = find_files(wanted, wish, shelf)
    tensors = tensors_of(checkpoint.path)
    for kind, path in files.items():
        prefix = wanted.parts[kind]
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
        tensors |= naming.part_named(kind, read_weights(path), prefix)
    source = Source(
        tensors=tensors,
        name=checkpoint.model_name,
        native_size=_native(header),
        compute=compute,
        prediction=read_prediction(checkpoint.path, header),
        modules=used_names(files),
        tokenizers=Tokenizers(checkpoint.path, files, shelf, on_read),
    )
    return family, source


def family_for(checkpoint: Checkpoint, header: Header) -> Family:
    """The family of a checkpoint with that header; raises ModelFileError saying what it is instead."""
    family = family_of(header.shapes)
    if not family:
        said = describe(header.shapes if is_folder(checkpoint.path) else shapes_of(checkpoint.path).shapes)
        raise ModelFileError(f'"{checkpoint.name}" {said}. This version draws with {names()}; choose one of those.')
    return family


def vae_of(
    checkpoint: Checkpoint, chosen: Path | None, name: str, shelf: Shelf, wish: Wish
) -> tuple[Family, dict[str, Tensor]]:
    """The checkpoint's family, and the tensors of the chosen VAE, or of the one that the checkpoint has or is completed with.

    Raises ModelFileError for a VAE of another family.
    """
    header = header_of(checkpoint.path)
    family = family_for(checkpoint, header)
    wanted = _wanted(checkpoint, family, header.shapes)
    if chosen:
        check_vae(chosen, name, wanted)
        tensors = read_weights(chosen)
        own = {key: tensor for key, tensor in tensors.items() if key.startswith((VAE, "vae."))}
        return family, naming.vae_named(own or tensors)
    files = find_files(wanted, Wish(modules=wish.modules), shelf)
    kind = next((kind for kind in files if kind.startswith("vae")), None)
    if kind:
        return family, naming.vae_named(read_weights(files[kind]))
    return family, without_prefix(tensors_of(checkpoint.path), VAE)


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The tensors of a file or of a diffusers folder, under a single file's names; raises ModelFileError."""
    return read_folder(path) if is_folder(path) else naming.checkpoint_named(read_weights(path))


def header_of(path: Path) -> Header:
    """Names, shapes and metadata of a file or of a diffusers folder, under a single file's names; raises ModelFileError."""
    if is_folder(path):
        return read_folder_header(path)
    header = shapes_of(path)
    named = naming.checkpoint_named(naming.weightless(header.shapes))
    return Header(shapes=naming.shapes_of(named), metadata=header.metadata)


def _wanted(checkpoint: Checkpoint, family: Family, shapes: Shapes) -> Wanted:
    return Wanted(
        name=checkpoint.name,
        label=family.LABEL,
        parts=family.parts(shapes),
        missing=tuple(missing_parts(family, shapes)),
    )


def _native(header: Header) -> int | None:
    try:
        return int(json.loads(header.metadata["atelier.defaults"])["width"])
    except (KeyError, TypeError, ValueError):
        return None
