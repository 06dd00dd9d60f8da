"""Textual inversions (arXiv:2208.01618): vectors that stand for a word, from every form of file they come in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modules.core.errors import ModelFileError
from modules.families.weights import ParameterTable, read_pickled, read_weights
from modules.library.embedding_pictures import PICTURES, TENSOR, read_hidden

PLAIN, CLIP_L, CLIP_G = "", "clip_l", "clip_g"
MOST = 75
"""Vectors of one: a chunk of a prompt holds no more."""


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """`vectors` (n, D), float32, by text encoder: CLIP_L and CLIP_G, or PLAIN for a model's only one. `path`: its file's."""

    name: str
    vectors: Mapping[str, Tensor]
    path: Path | None = None

    @property
    def count(self) -> int:
        """n."""
        return len(next(iter(self.vectors.values())))

    def of(self, role: str, width: int) -> Tensor | None:
        """The vectors for that encoder of that width, if there are such."""
        found = self.vectors.get(role)
        return found if found is not None and found.shape[1] == width else None


def read_embedding(path: Path, name: str) -> Embedding | None:
    """The embedding in that file; None for a picture that holds none. Raises ModelFileError."""
    if path.suffix.lower() in PICTURES:
        hidden = read_hidden(path)
        if hidden is None:
            return None
        content = _tensors(path, hidden)
    elif path.suffix.lower() in (".safetensors", ".sft"):
        content = read_weights(path)
    else:
        content = read_pickled(path)
    vectors = _vectors(content)
    counts = {len(found) for found in vectors.values()}
    if len(counts) != 1 or not 1 <= next(iter(counts)) <= MOST:
        raise ModelFileError(
            f'"{path.name}" is no textual inversion of 1 to {MOST} vectors. Take it out of the folder of embeddings.'
        )
    own = content.get("name") if isinstance(content, Mapping) and path.suffix.lower() in PICTURES else None
    return Embedding(name=own if isinstance(own, str) and own else name, vectors=vectors)


def _vectors(content: Any) -> dict[str, Tensor]:
    """The vectors in what a file holds: A1111's `string_to_param`, SDXL's `clip_l` and `clip_g`, or one tensor by its word."""
    if not isinstance(content, Mapping):
        return {}
    held = content.get("string_to_param")
    if isinstance(held, ParameterTable):
        held = held.parameters
    if isinstance(held, Mapping):
        content = held
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if CLIP_G in tensors:
        return {role: _rows(tensors[role]) for role in (CLIP_L, CLIP_G) if role in tensors}
    first = next(iter(tensors.values()), None)
    if first is None or first.ndim not in (1, 2) or len(tensors) > 1:
        return {}
    return {PLAIN: _rows(first)}


def _rows(tensor: Tensor) -> Tensor:
    return tensor.detach().float().reshape(-1, tensor.shape[-1])


def _tensors(path: Path, value: Any) -> Any:
    """JSON with lists under TENSOR as tensors."""
    if not isinstance(value, dict):
        return value
    if TENSOR not in value:
        return {key: _tensors(path, inner) for key, inner in value.items()}
    try:
        return torch.tensor(value[TENSOR], dtype=torch.float32)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ModelFileError(f'"{path.name}" holds a damaged textual inversion. Download it again.') from error
