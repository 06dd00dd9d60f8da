"""The shipped starter's own modules, frozen, for training networks that change or steer it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextModel

from modules.families.ldm_keys import TEXT, UNET, VAE, KeyMap, text_keys, unet_keys, unet_shape, vae_keys, vae_shape
from modules.families.weights import read_weights

from .diffusion import alphas_cumprod
from .parts import LATENT_SCALE, make_autoencoder, make_text_encoder, make_unet
from .train_unet import weight

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Base:
    """What the checkpoint holds, float32 and without gradients."""

    unet: UNet2DConditionModel
    text: CLIPTextModel
    autoencoder: AutoencoderKL

    @torch.no_grad()
    def latents(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 4, H/8, W/8) of deviation 1."""
        quant = self.autoencoder.quant_conv
        assert quant
        return quant(self.autoencoder.encoder(pixels))[:, :4] * LATENT_SCALE

    @torch.no_grad()
    def pixels(self, latents: Tensor) -> Tensor:
        """The way back."""
        post = self.autoencoder.post_quant_conv
        assert post
        return self.autoencoder.decoder(post(latents / LATENT_SCALE))


def load_base(path: Path) -> Base:
    """The starter's modules from its file."""
    tensors = read_weights(path)

    def filled(module: M, prefix: str, keys: KeyMap) -> M:
        own = {name[len(prefix) :]: value.float() for name, value in tensors.items() if name.startswith(prefix)}
        module.load_state_dict(keys.to_module(own))
        module.requires_grad_(False).eval()
        return module

    unet_names = [name[len(UNET) :] for name in tensors if name.startswith(UNET)]
    vae_names = [name[len(VAE) :] for name in tensors if name.startswith(VAE)]
    unet: Any = filled(make_unet(), UNET, unet_keys(unet_shape(unet_names)))
    unet.set_attn_processor(AttnProcessor())  # twice as fast as torch's fused attention to train on a CPU
    autoencoder = filled(make_autoencoder(), VAE, vae_keys(vae_shape(vae_names)))
    return Base(unet, filled(make_text_encoder(), TEXT, text_keys()), autoencoder)


@dataclass(frozen=True)
class Noisy:
    """Latents on their way to noise: `x` (B, 4, 16, 16), `eps`, the time steps `t` (B,) and the loss's `weights` (B,)."""

    x: Tensor
    eps: Tensor
    t: Tensor
    weights: Tensor

    def loss(self, made: Tensor) -> tuple[Tensor, dict[str, float]]:
        """The weighted error of the noise `made`, and numbers to watch."""
        each = (made.float() - self.eps).square().mean((1, 2, 3))
        late = each[self.t > 500]
        return (each * self.weights).mean(), {"mse": each.mean().item(), "late": late.mean().item()}


def noised(latents: Tensor, noise: torch.Generator, *, lowest: int = 0) -> Noisy:
    """Each of the latents at a time of its own, the times spread evenly from the lowest on."""
    batch, abar = len(latents), alphas_cumprod()
    spread = (torch.randperm(batch, generator=noise) + torch.rand(batch, generator=noise)) / batch
    t = (lowest + spread * (1000 - lowest)).long()
    eps = torch.randn(latents.shape, generator=noise)
    a = abar[t][:, None, None, None]
    x = a.sqrt() * latents + (1 - a).sqrt() * eps
    return Noisy(x, eps, t, weight(a.flatten() / (1 - a.flatten())))
