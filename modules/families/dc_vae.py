"""The deep compression autoencoder (DC-AE, arXiv:2410.10733) that Sana draws with: 32 pixels per latent.

Sizes are read off the tensors; activations and shortcuts are those of dc-ae-f32c32-sana.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from modules.devices.choice import Compute
from modules.families.assembly import converted, empty_weights, filled, needed
from modules.families.autoencoders import Halved

LATENT_SCALE = 0.41407


class DcAutoencoder(Halved):
    """diffusers' AutoencoderDC, which draws nothing; one picture at a time, to spare memory."""

    def __init__(self, module: Any, compute: Compute) -> None:
        super().__init__(module, compute)
        self.channels: int = module.config.latent_channels
        self.downscale: int = module.spatial_compression_ratio
        self.space: tuple[object, ...] = ("dc", self.channels, self.downscale)

    def _decode(self, latents: Tensor) -> Tensor:
        z = (latents / LATENT_SCALE).to(self.dtype)
        images = [self.module.decode(one[None], return_dict=False)[0].float().cpu() for one in z]
        return torch.cat(images)

    def _encode(self, images: Tensor, noise: Tensor) -> Tensor:
        pixels = images.mul(2).sub(1).to(self.device, self.dtype)
        latents = [self.module.encode(one[None], return_dict=False)[0].float() for one in pixels]
        return torch.cat(latents) * LATENT_SCALE


def build_dc_vae(tensors: Mapping[str, Tensor], compute: Compute) -> DcAutoencoder:
    """The autoencoder of the shape that the tensors have, under the authors' names or diffusers'; raises ModelFileError."""
    from diffusers.loaders.single_file_utils import convert_autoencoder_dc_checkpoint_to_diffusers
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC

    weights = dict(tensors)
    if any(".stages." in name for name in weights):
        weights = converted(convert_autoencoder_dc_checkpoint_to_diffusers, weights)
    latents, channels = needed(weights, "encoder.conv_out.weight"), needed(weights, "encoder.conv_in.weight")
    encoder, decoder = _half(weights, "encoder.down_blocks"), _half(weights, "decoder.up_blocks")
    config: dict[str, Any] = {
        "in_channels": channels.shape[1],
        "latent_channels": latents.shape[0],
        **{f"encoder_{name}": value for name, value in encoder.items()},
        **{f"decoder_{name}": value for name, value in decoder.items()},
        "downsample_block_type": "conv" if _plain(weights, "encoder.down_blocks", encoder) else "pixel_unshuffle",
        "upsample_block_type": "interpolate" if _plain(weights, "decoder.up_blocks", decoder) else "pixel_shuffle",
    }
    with empty_weights():
        module = AutoencoderDC(**config)
    return DcAutoencoder(filled(module, weights, compute.home, compute.vae_dtype), compute)


def _half(weights: Mapping[str, Tensor], blocks: str) -> dict[str, Any]:
    """Kinds, widths and numbers of the blocks of each level."""
    pattern = re.compile(re.escape(blocks) + r"\.(\d+)\.(\d+)\.(conv1|conv2|norm|attn|conv_out)\.")
    found: dict[int, dict[int, str]] = {}
    for name in sorted(weights):
        if match := pattern.match(name):
            first = "attn.to_q" if match[3] in ("attn", "conv_out") else "conv1"
            found.setdefault(int(match[1]), {})[int(match[2])] = f"{match[0].rsplit('.', 2)[0]}.{first}.weight"
    order = [
        [*found.get(level, {0: f"{blocks}.{level}.1.conv1.weight"}).values()]
        for level in range(1 + max(found, default=0))
    ]
    kernel = re.compile(re.escape(blocks) + r"\.(\d+)\.\d+\.attn\.to_qkv_multiscale\.(\d+)\.proj_in\.weight$")
    scales: dict[int, dict[int, int]] = {}
    for name, tensor in weights.items():
        if match := kernel.match(name):
            scales.setdefault(int(match[1]), {})[int(match[2])] = tensor.shape[-1]
    return {
        "block_types": tuple("ResBlock" if "conv1" in names[0] else "EfficientViTBlock" for names in order),
        "block_out_channels": tuple(needed(weights, names[0]).shape[0] for names in order),
        "layers_per_block": tuple(len(names) for names in order),
        "qkv_multiscales": tuple(tuple(scales.get(level, {}).values()) for level in range(len(order))),
    }


def _plain(weights: Mapping[str, Tensor], blocks: str, half: Mapping[str, Any]) -> bool:
    """Does the convolution between the first two levels give as many channels as there are behind it?

    Else it gives a quarter of them down, four times them up, and pixels are shuffled.
    """
    pattern = re.compile(re.escape(blocks) + r"\.0\.\d+\.conv\.weight$")
    name = next((name for name in weights if pattern.match(name)), f"{blocks}.0.0.conv.weight")
    behind = half["block_out_channels"][1 if "down" in blocks else 0]
    return needed(weights, name).shape[0] == behind
