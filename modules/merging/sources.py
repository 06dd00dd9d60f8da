"""What is merged: a checkpoint's tensors, mapped from its file, and what its file says of itself."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modules.core.errors import InputError, ModelFileError
from modules.families import naming
from modules.families.kinds import family_of
from modules.families.ldm_keys import VAE
from modules.families.opening import tensors_of
from modules.families.source import without_prefix
from modules.families.weights import read_weights
from modules.library.checkpoints import Checkpoint
from modules.library.header import read_header
from modules.requests.merge import MODEL_FIELDS

SD1_TEXT = "cond_stage_model.transformer."
_OLD_TEXT = ("embeddings.", "encoder.", "final_layer_norm.")
EXTRA_CHANNELS = {9: "inpainting", 8: "instruct-pix2pix"}
"""Input channels of a U-Net that sees more than the latents, and the words for it in A1111's file names."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One checkpoint. `tensors` by their names in a single file, mapped from disk; `metadata` is its header's."""

    checkpoint: Checkpoint
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    @property
    def family(self) -> str | None:
        """The words for its family, None for one that is not known here."""
        found = family_of({name: tuple(tensor.shape) for name, tensor in self.tensors.items()})
        return found.LABEL if found else None

    def meta(self, name: str) -> Tensor:
        """That tensor without its values."""
        return torch.empty_like(self.tensors[name], device="meta")


def open_source(checkpoint: Checkpoint) -> Source:
    """That checkpoint, its tensors unread; raises ModelFileError."""
    path = checkpoint.path
    headed = path.suffix.lower() == ".safetensors" and path.is_file()
    metadata = read_header(path).metadata if headed else {}
    return Source(checkpoint=checkpoint, tensors=_today(tensors_of(path)), metadata=metadata)


def open_vae(path: Path) -> dict[str, Tensor]:
    """A VAE's tensors under a checkpoint's names; raises ModelFileError for another kind of file."""
    tensors = read_weights(path)
    found = naming.vae_named(without_prefix(tensors, VAE) or tensors)
    last = found.get("post_quant_conv.weight")
    if last is None or len(last) != 4:
        raise ModelFileError(
            f'"{path.name}" is no VAE of Stable Diffusion in the usual layout. Choose another in bake_in_vae.'
        )
    return naming.prefixed(VAE, found)


def check_alike(
    sources: tuple[Source, ...], fields: tuple[str, ...] = MODEL_FIELDS, words: tuple[str, ...] = ("A", "B", "C")
) -> None:
    """Raise InputError unless these checkpoints fit together: of one family and of equal shapes.

    The first may see more channels than the others, as inpainting checkpoints do. `words` is what each is to the user.
    """
    first = sources[0]
    for number, other in enumerate(sources[1:], 1):
        names = f'"{first.checkpoint.name}" ({words[0]}) and "{other.checkpoint.name}" ({words[number]})'
        if first.family != other.family:
            kind, another = (source.family or "something else" for source in (first, other))
            raise InputError(
                fields[number], f"{names} are of different families, {kind} and {another}: choose two of one family."
            )
        common = [name for name in first.tensors if name in other.tensors]
        if not common:
            raise InputError(fields[number], f"{names} have no weights in common: choose two of one family.")
        for name in common:
            _check_shapes(name, first, other, fields[number], names, words[0])


def _check_shapes(name: str, first: Source, other: Source, field: str, names: str, word: str) -> None:
    a, b = tuple(first.tensors[name].shape), tuple(other.tensors[name].shape)
    if a == b or (sees_more(a, b) and a[1] in EXTRA_CHANNELS):
        return
    if sees_more(b, a) and b[1] in EXTRA_CHANNELS:
        kind = EXTRA_CHANNELS[b[1]]
        raise InputError(field, f"{names}: only {word} may be an {kind} checkpoint. Exchange the two.")
    raise InputError(
        field, f"{names} do not fit together: {name} is {a} in one and {b} in the other. Choose two of one size."
    )


def sees_more(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Are these a convolution of shape `a` whose first 4 input channels are those of shape `b`?"""
    return len(a) == len(b) == 4 and a[1] > b[1] == 4 and (a[0], a[2:]) == (b[0], b[2:])


def legacy_hash(path: Path) -> str:
    """A1111's first kind of hash: of 64 KB in the file's second megabyte, 8 hex digits; raises ModelFileError."""
    try:
        with path.open("rb") as file:
            file.seek(0x100000)
            return hashlib.sha256(file.read(0x10000)).hexdigest()[:8]
    except OSError as error:
        raise ModelFileError(f'"{path.name}" cannot be read: {error.strerror}. Check the file.') from error


def said(metadata: Mapping[str, str], name: str) -> Any:
    """The JSON object under that name of a file's metadata; None if there is none."""
    try:
        found = json.loads(metadata.get(name, ""))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _today(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Text encoders of early files under the names of later ones, as A1111 reads them."""
    found = {}
    for name, tensor in tensors.items():
        rest = name.removeprefix(SD1_TEXT)
        old = rest != name and rest.startswith(_OLD_TEXT)
        found[f"{SD1_TEXT}text_model.{rest}" if old else name] = tensor
    return found
