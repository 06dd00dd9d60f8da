"""Qwen-Image's autoencoder: Wan 2.1's for video (arXiv:2503.20314), of one frame, whose decoder was trained on."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.autoencoders import Halved

WIDTHS = [1, 2, 4, 4]  # of its levels, times the first
IN_TIME = [False, True, True]  # levels that also go down in time, which one frame does not notice


class QwenAutoencoder(Halved):
    """diffusers' AutoencoderKLQwenImage; a network's latents are (z - mean) / deviation, channel by channel.

    A picture's latents are the most likely ones, as the authors' own code and ComfyUI take them: no noise. One picture at a time.
    """

    def __init__(self, module: Any, compute: Compute) -> None:
        super().__init__(module, compute)
        self.channels: int = module.config.z_dim
        self.downscale: int = module.spatial_compression_ratio
        self.space: tuple[object, ...] = (self.channels, self.downscale, "qwen")
        shape = (1, self.channels, 1, 1)
        self._mean = torch.tensor(module.config.latents_mean, device=compute.device).view(shape)
        self._deviation = torch.tensor(module.config.latents_std, device=compute.device).view(shape)

    def _decode(self, latents: Tensor) -> Tensor:
        z = (latents * self._deviation + self._mean).to(self.dtype)
        images = [self.module.decode(one[None, :, None], return_dict=False)[0][:, :, 0].float().cpu() for one in z]
        return torch.cat(images)

    def _encode(self, images: Tensor, noise: Tensor) -> Tensor:
        pixels = images.mul(2).sub(1).to(self.device, self.dtype)
        found = [self.module.encode(one[None, :, None], return_dict=False)[0].mean[:, :, 0].float() for one in pixels]
        return (torch.cat(found) - self._mean) / self._deviation


def build_qwen_vae(tensors: Mapping[str, Tensor], compute: Compute) -> nn.Module:
    """diffusers' autoencoder of the shape that the tensors have, under Wan's names or diffusers'; raises ModelFileError."""
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers
    from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage

    weights = convert_wan_vae_to_diffusers(dict(tensors)) if "decoder.conv1.weight" in tensors else dict(tensors)
    config: dict[str, Any] = {
        "base_dim": needed(weights, "encoder.conv_in.weight").shape[0],
        "z_dim": needed(weights, "post_quant_conv.weight").shape[0],
        "dim_mult": WIDTHS,
        "num_res_blocks": count_of(weights, "decoder.up_blocks.0.resnets") - 1,
        "temperal_downsample": IN_TIME,
    }
    with empty_weights():
        vae = AutoencoderKLQwenImage(**config)
    return filled(vae, weights, compute.home, compute.vae_dtype)
