"""FLUX.2's autoencoder: a KL one of 32 channels, 2 x 2 of whose latents are one of 128 channels, each brought to mean 0 and deviation 1."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.families.assembly import empty_weights, filled, needed
from modules.families.autoencoders import Halved
from modules.families.vae import read_vae

PATCH = 2
EPSILON = 1e-4  # of the batch normalisation that the means and deviations come of


class Flux2Autoencoder(Halved):
    """diffusers' AutoencoderKLFlux2; a picture's latents are the most likely ones, as the authors take them. One picture at a time."""

    def __init__(self, module: Any, compute: Compute, *, mean: Tensor, variance: Tensor) -> None:
        super().__init__(module, compute)
        self.channels: int = module.config.latent_channels * PATCH**2
        self.downscale: int = 2 ** (len(module.config.block_out_channels) - 1) * PATCH
        self.space: tuple[object, ...] = (self.channels, self.downscale, "flux2")
        shape = (1, self.channels, 1, 1)
        self._mean = mean.to(compute.device, torch.float32).view(shape)
        self._deviation = (variance.to(compute.device, torch.float32) + EPSILON).sqrt().view(shape)

    def _decode(self, latents: Tensor) -> Tensor:
        z = nn.functional.pixel_shuffle(latents * self._deviation + self._mean, PATCH).to(self.dtype)
        images = [self.module.decode(one[None], return_dict=False)[0].float().cpu() for one in z]
        return torch.cat(images)

    def _encode(self, images: Tensor, noise: Tensor) -> Tensor:
        """As Autoencoder's; without noise."""
        pixels = images.mul(2).sub(1).to(self.device, self.dtype)
        z = torch.cat([self.module.encode(one[None], return_dict=False)[0].mean.float() for one in pixels])
        return (nn.functional.pixel_unshuffle(z, PATCH) - self._mean) / self._deviation


def build_flux2_vae(tensors: Mapping[str, Tensor], compute: Compute) -> Flux2Autoencoder:
    """Of the shape that the tensors have, under the authors' names or diffusers'; raises ModelFileError."""
    from diffusers.models.autoencoders.autoencoder_kl_flux2 import AutoencoderKLFlux2

    named = {re.sub(r"^(en|de)coder\.(?=(post_)?quant_conv\.)", "", name): value for name, value in tensors.items()}
    weights, config = read_vae(named)
    pattern = re.compile(r"decoder\.up_blocks\.(\d+)\.resnets\.0\.conv2\.weight$")
    widths = {int(match[1]): weights[name].shape[0] for name in weights if (match := pattern.match(name))}
    config["decoder_block_out_channels"] = tuple(widths[level] for level in sorted(widths, reverse=True))
    with empty_weights():
        vae = AutoencoderKLFlux2(**config)
    filled(vae, weights, compute.home, compute.vae_dtype)
    mean, variance = (needed(tensors, f"bn.running_{name}") for name in ("mean", "var"))
    return Flux2Autoencoder(vae, compute, mean=mean, variance=variance)
