"""Revision: Stable Diffusion XL goes by what CLIP bigG sees in a picture, where its own text encoder's pooled vector was."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from modules.control.kinds import LABELS
from modules.control.turns import Moment, Turn
from modules.core.errors import InputError
from modules.families.model import LoadedModel
from modules.families.sdxl import FOURIER
from modules.families.unet import Call
from modules.sampling.denoiser import TRAIN_STEPS, scaled_linear_alphas_cumprod

REVISIONS = ("revision_clipvision", "revision_ignore_prompt")
FAMILY = "sdxl"
START, END = 1e-4, 2e-2
"""The betas of the noise that augmentation adds."""


@dataclass(frozen=True, kw_only=True)
class Revision(Turn):
    """A unit at work. `vectors` (P, E): its pictures' vectors, one a picture or one for all."""

    vectors: Tensor

    @property
    def alone(self) -> bool:
        """Is the prompt ignored?"""
        return self.unit.module == REVISIONS[1]


class Revisions:
    """All units of a run that go by it: their vectors, by their weights, are added up."""

    def __init__(self, units: Sequence[Revision]) -> None:
        self._units = units

    def changed(self, call: Call, moment: Moment) -> Call:
        """The call with the pictures in place of the pooled text, 0 where the negative prompt guides; all words are zeros if they are ignored."""
        active = [unit for unit in self._units if unit.counts(moment.part)]
        if not active or call.labels is None:
            return call
        told = [
            reduce(torch.add, (unit.vectors[row.picture % len(unit.vectors)] * unit.unit.weight for unit in active))
            * float(row.guided)
            for row in moment.rows
        ]
        pooled = torch.stack(told).to(call.labels)
        labels = torch.cat([pooled, call.labels[:, pooled.shape[1] :]], dim=1)
        alone = any(unit.alone for unit in active)
        return call._replace(labels=labels, context=torch.zeros_like(call.context) if alone else call.context)


def pooled_width(field: str, module: str, model: LoadedModel) -> int:
    """The width of the vectors that a model's pooled text is; raises InputError for one that is no Stable Diffusion XL."""
    if model.family != FAMILY:
        label = LABELS.get(model.family, model.family)
        raise InputError(
            field,
            f'{field} is {module}, which is for Stable Diffusion XL; the checkpoint "{model.name}" is of the family {label}. '
            "Turn the unit off, or choose another checkpoint.",
        )
    return model.backbone.config.projection_class_embeddings_input_dim - 6 * FOURIER


def augmented(vectors: Tensor, amount: float, seed: int) -> Tensor:
    """Vectors (P, E) noised as far as that part of a diffusion's way: 0 leaves them as they are."""
    if not amount:
        return vectors
    a = scaled_linear_alphas_cumprod(START, END)[min(int(amount * TRAIN_STEPS), TRAIN_STEPS - 1)]
    noise = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(seed % 2**63))
    return a.sqrt() * vectors + (1 - a).sqrt() * noise
