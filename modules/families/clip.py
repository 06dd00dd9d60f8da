"""CLIP's text encoders under transformers' names, as checkpoints since Stable Diffusion 3 hold them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from modules.devices.choice import Compute
from modules.families.assembly import needed
from modules.families.sd1 import build_text
from modules.families.sd2 import padded_with_zeros
from modules.prompting.tokenizer import END


class Clip:
    """One encoder: its states before the last layer, and its pooled vector, the last states at the end token.

    `projected`: the vector goes through text_projection. `zeros`: padding is token 0, as OpenCLIP has it, else the end token.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], compute: Compute, *, activation: str, projected: bool, zeros: bool
    ) -> None:
        bare = {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
        self._text: Any = build_text(bare, compute.home, compute.dtype, activation=activation)
        projection = needed(bare, "text_projection.weight") if projected else None
        self._projection = None if projection is None else projection.to(compute.device, compute.dtype)  # (P, D)
        self._zeros = zeros
        self._device = compute.device

    def __call__(self, ids: Tensor, clip_skip: int) -> tuple[Tensor, Tensor]:
        """ids (B, 77) -> (B, 77, D) and (B, P), float32; clip skip has no effect, as in A1111."""
        ids = (padded_with_zeros(ids) if self._zeros else ids).to(self._device)
        out = self._text(ids, output_hidden_states=True)
        ends = (ids == END).int().argmax(dim=1)
        last = out.last_hidden_state[torch.arange(len(ids), device=ids.device), ends]
        vector = last if self._projection is None else last @ self._projection.T
        return out.hidden_states[-2].float(), vector.float()


def clip_l(tensors: Mapping[str, Tensor], compute: Compute) -> Clip:
    """OpenAI's CLIP L; its vector is not projected, in SD 3 nor in FLUX. Raises ModelFileError."""
    return Clip(tensors, compute, activation="quick_gelu", projected=False, zeros=False)


def clip_g(tensors: Mapping[str, Tensor], compute: Compute) -> Clip:
    """OpenCLIP's bigG, whose vector is projected. Raises ModelFileError."""
    return Clip(tensors, compute, activation="gelu", projected=True, zeros=True)
