"""A loaded checkpoint: its parts, and what it can do, as data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from modules.devices.choice import Compute
from modules.prompting.encode import PLAIN, TextOptions
from modules.sampling.denoiser import EpsDenoiser, NoiseLevels, VDenoiser
from modules.sampling.flow import FlowDenoiser

Denoisers = EpsDenoiser | VDenoiser | FlowDenoiser
DENOISERS: Mapping[str, type[Denoisers]] = {"eps": EpsDenoiser, "v": VDenoiser, "flow": FlowDenoiser}


Vector = Callable[[Tensor, int, int], Tensor]  # what prompts tell (B, P) and the picture's height and width -> (B, V)


class Prompts(Protocol):
    """What encodes prompts: a PromptEncoder, or several joined."""

    def encode(self, texts: Sequence[str], options: TextOptions = PLAIN) -> Tensor:
        """(len(texts), T, D) float32."""
        ...

    def encode_together(self, texts: Sequence[str], counts: Sequence[int], options: TextOptions = PLAIN) -> Tensor:
        """As `encode`, for the texts of one schedule, each there `counts` times."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """Everything the recipes need of a checkpoint.

    `latent_scale`: the autoencoder's latents are divided by it. `downscale`: pixels per latent. `native_size`: pixels. `prediction`:
    "eps", "v" or "flow". `extra_channels`: what the U-Net sees beside the latents: none, 5 for inpainting (a mask, 1 where to paint,
    and the latents of the picture without that), or 4 for InstructPix2Pix (the latents of the picture to change). `vector`: what
    makes the U-Net's vector of what stands in the conditioning behind its first cross_attention_dim channels. `vae_file`: name
    and short hash of the file the autoencoder came from, if that is not the checkpoint.
    """

    name: str
    sha256: str
    family: str
    prediction: str
    latent_channels: int
    latent_scale: float
    downscale: int
    native_size: int
    compute: Compute
    levels: NoiseLevels
    prompts: Prompts
    unet: torch.nn.Module
    vae: Any  # diffusers' AutoencoderKL
    extra_channels: int = 0
    vector: Vector | None = None
    vae_file: tuple[str, str] | None = None

    @property
    def inpainting(self) -> bool:
        """Is it made for inpainting?"""
        return self.extra_channels == self.latent_channels + 1

    def denoiser(self, levels: NoiseLevels | None = None) -> Denoisers:
        """The U-Net as D(x; sigma), over its own levels or others drawn from them."""
        return DENOISERS[self.prediction](self._predict, levels or self.levels)

    def _predict(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        dtype, labels = self.compute.dtype, None
        if self.vector:
            width = cast(Any, self.unet).config.cross_attention_dim
            told, context = context[:, 0, width:], context[..., :width]
            height, width = (side * self.downscale for side in x.shape[-2:])
            labels = self.vector(told, height, width).to(dtype)
        return self.unet(
            x.to(dtype), t, encoder_hidden_states=context.to(dtype), class_labels=labels, return_dict=False
        )[0].float()

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, H/8, W/8) -> pictures (B, 3, H, W) in [0, 1], float32, on the CPU. One at a time, to spare memory."""
        scaled = (latents / self.latent_scale).to(self.compute.vae_dtype)
        images = [self.vae.decode(z[None], return_dict=False)[0].float().cpu() for z in scaled]
        return torch.cat(images).add(1).div(2).clamp(0, 1)

    def encode(self, images: Tensor, noise: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] -> latents (B, C, H/8, W/8), float32: mean + deviation x noise, shaped as they. One at a time."""
        pixels = images.mul(2).sub(1).to(self.compute.device, self.compute.vae_dtype)
        found = [self.vae.encode(one[None], return_dict=False)[0] for one in pixels]
        latents = [p.mean.float() + p.std.float() * n.to(p.mean.device) for p, n in zip(found, noise, strict=True)]
        return torch.cat(latents) * self.latent_scale


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, under the rest of their names."""
    return {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}
