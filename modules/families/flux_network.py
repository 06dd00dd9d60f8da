"""FLUX.1's transformer as samplers ask it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modules.core.errors import ModelFileError
from modules.families.adding import Added, Adding, TokenCall
from modules.families.packing import by_length, unpack, whole_patches
from modules.sampling.denoiser import TRAIN_STEPS

PATCH = 2
MASK = 64  # Fill's channels of the mask: the 8 x 8 pixels of a latent


class FluxNetwork:
    """Image tokens are 2 x 2 latents, row by row; their places, and a picture's number, are what the transformer turns them by.

    `extra`: the channels it wants beside the latents. Of Fill they are a mask, 1 where to paint, and the latents of the picture
    without that; it is shown them in the other order, the mask for each of a latent's 8 x 8 pixels.
    """

    def __init__(
        self,
        backbone: Any,
        *,
        channels: int,
        guidance: float = 3.5,
        references: Sequence[Tensor] = (),
        added: Adding | None = None,
    ) -> None:
        self._backbone = backbone
        self._channels = channels
        self._guidance = guidance
        self._references = tuple(references)
        self._added = added or Adding()
        self.adding = self._added.adding
        beside = backbone.config.in_channels // PATCH**2 - channels
        self._fill = beside == channels + MASK
        self.extra = channels + 1 if self._fill else beside
        if backbone.config.out_channels != channels * PATCH**2 or beside not in (0, channels, channels + MASK):
            raise ModelFileError(
                f"The checkpoint's network sees {backbone.config.in_channels} channels and gives "
                f"{backbone.config.out_channels}; with a VAE of {channels} no FLUX.1 does. Choose another checkpoint or VAE."
            )

    def told(self, *, guidance: float, references: Sequence[Tensor] = ()) -> "FluxNetwork":
        """The same, told the scale of the guidance it is distilled from, and shown latents (1, C, h, w) of pictures (Kontext)."""
        return FluxNetwork(
            self._backbone, channels=self._channels, guidance=guidance, references=references, added=self._added
        )

    def __call__(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """As Network's."""
        height, width = x.shape[-2:]
        x = whole_patches(self._seen(x), PATCH)
        latents = x[:, : self._channels]
        images, places = to_tokens(x), token_places(x)
        count = images.shape[1]
        for number, reference in enumerate(self._references, start=1):
            shown = whole_patches(reference.to(x), PATCH)
            images = torch.cat([images, to_tokens(shown).expand(len(x), -1, -1)], dim=1)
            places = torch.cat([places, token_places(shown, number=number)])
        pooled = self._backbone.config.pooled_projection_dim
        states, vector, mask = unpack(context, vector=pooled)
        found = torch.empty(len(x), count, self._backbone.config.out_channels, device=x.device)
        for rows, texts in by_length([row[counts] for row, counts in zip(states, mask, strict=True)]):
            call = TokenCall(latents[rows], t[rows], texts.unbind(), vector[rows], self._guidance)
            with self._added.within(self._backbone, call, rows, len(x), self._spell):
                found[rows] = self._ask(images[rows], places, t[rows], texts, vector[rows])[:, :count].float()
        return from_tokens(found, x.shape[-2] // PATCH)[..., :height, :width]

    def _ask(self, images: Tensor, places: Tensor, t: Tensor, texts: Tensor, vector: Tensor) -> Tensor:
        """Image tokens (B, N, C) -> (B, N, C'), in the transformer's own dtype."""
        dtype = self._backbone.dtype
        guided = self._backbone.config.guidance_embeds
        return self._backbone(
            hidden_states=images.to(dtype),
            encoder_hidden_states=texts.to(dtype),
            pooled_projections=vector.to(dtype),
            timestep=t / TRAIN_STEPS,
            img_ids=places,
            txt_ids=places.new_zeros(texts.shape[1], 3),
            guidance=torch.full_like(t, self._guidance) if guided else None,
            return_dict=False,
        )[0]

    def _spell(self, added: Added, like: Tensor) -> dict[str, Any]:
        """What is added to the picture's tokens, as diffusers' transformer takes it; to those of other pictures nothing is."""
        found = added.like(like, like.shape[1])
        return {
            "controlnet_block_samples": found.blocks or None,
            "controlnet_single_block_samples": found.singles or None,
        }

    def _seen(self, x: Tensor) -> Tensor:
        """x (B, C + E, h, w) as the transformer wants its channels."""
        if not self._fill:
            return x
        latents, mask, picture = x.split([self._channels, 1, self._channels], dim=1)
        return torch.cat([latents, picture, mask.expand(-1, MASK, -1, -1)], dim=1)


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h/2 w/2, 4 C)."""
    batch, channels, height, width = x.shape
    patches = x.reshape(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def from_tokens(tokens: Tensor, rows: int) -> Tensor:
    """(B, N, 4 C) of that many rows of tokens -> (B, C, h, w)."""
    batch, count, channels = tokens.shape
    patches = tokens.reshape(batch, rows, count // rows, channels // PATCH**2, PATCH, PATCH)
    return patches.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def token_places(x: Tensor, *, number: int = 0) -> Tensor:
    """The picture's number, row and column of each token of x (B, C, h, w): (N, 3)."""
    rows, columns = (torch.arange(side // PATCH, device=x.device) for side in x.shape[-2:])
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)
    return torch.nn.functional.pad(grid, (1, 0), value=number).float()
