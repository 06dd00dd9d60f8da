"""FLUX.2's transformer as samplers ask it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modules.families.packing import by_length, text_rows
from modules.sampling.denoiser import TRAIN_STEPS

GUIDANCE = 4.0  # the authors' own default
APART = 10  # between the numbers of the picture that is drawn, 0, and of those to go by


class Network:
    """A latent is a token; its places are what the transformer turns them by: the picture's number, row, column, and position in the text."""

    def __init__(self, backbone: Any, *, guidance: float = GUIDANCE, references: Sequence[Tensor] = ()) -> None:
        self._backbone = backbone
        self._guidance = guidance
        self._references = tuple(references)

    def told(self, *, guidance: float, references: Sequence[Tensor] = ()) -> "Network":
        """The same, told the scale of the guidance it is distilled with, and shown latents (1, C, h, w) of pictures to go by."""
        return Network(self._backbone, guidance=guidance, references=references)

    def __call__(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """As Network's."""
        shown = [x, *(reference.to(x).expand(len(x), -1, -1, -1) for reference in self._references)]
        tokens = torch.cat([picture.flatten(2).transpose(1, 2) for picture in shown], dim=1)  # (B, N, C)
        places = torch.cat([picture_places(picture, APART * number) for number, picture in enumerate(shown)])
        found = torch.empty_like(x)
        for rows, states in by_length(text_rows(context)):
            v = self._ask(tokens[rows], places, t[rows], states)[:, : x.shape[2] * x.shape[3]]
            found[rows] = v.transpose(1, 2).unflatten(2, x.shape[2:]).to(found)
        return found

    def _ask(self, tokens: Tensor, places: Tensor, t: Tensor, states: Tensor) -> Tensor:
        """Tokens (B, N, C) -> (B, N, C)."""
        dtype = self._backbone.dtype
        guided = self._backbone.config.guidance_embeds
        positions = torch.arange(states.shape[1], device=places.device)
        return self._backbone(
            hidden_states=tokens.to(dtype),
            encoder_hidden_states=states.to(dtype),
            timestep=t / TRAIN_STEPS,
            img_ids=places,
            txt_ids=torch.nn.functional.pad(positions[:, None], (3, 0)),
            guidance=torch.full_like(t, self._guidance) if guided else None,
            return_dict=False,
        )[0]


def picture_places(x: Tensor, number: int) -> Tensor:
    """(number, row, column, 0) of each latent of x (B, C, h, w): (h w, 4)."""
    axes = [torch.tensor([number]), *map(torch.arange, x.shape[2:]), torch.zeros(1, dtype=torch.int64)]
    return torch.cartesian_prod(*axes).to(x.device)
