"""Writes the trained parts as one Stable Diffusion 1.x file."""

import json
import random
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextModel

from modules.families.ldm_keys import TEXT, UNET, VAE, UNetShape, VaeShape, text_keys, unet_keys, vae_keys

from .captions import tell
from .parts import LATENT_SCALE
from .scene import training_scene
from .words import lesson

DEFAULTS = {
    "width": 128, "height": 128, "steps": 20, "cfg_scale": 3.0, "sampler_name": "Euler", "scheduler": "Automatic",
    "prompt": "a watercolour painting of a big red mushroom in a meadow",
}  # fmt: skip
"""What the page starts from with this checkpoint."""


@torch.no_grad()
def fold(autoencoder: AutoencoderKL, mean: Tensor, std: Tensor) -> None:
    """Makes latents times LATENT_SCALE of mean 0 and deviation 1: `mean`, `std` (4,) are those of the latents so far."""
    scale = std * LATENT_SCALE
    quant, post = autoencoder.quant_conv, autoencoder.post_quant_conv
    assert quant and post and post.bias is not None
    quant.bias[:4] = (quant.bias[:4] - mean) / scale
    quant.weight[:4] /= scale[:, None, None, None]
    quant.bias[4:] -= 2 * scale.log()
    post.bias += post.weight[:, :, 0, 0] @ mean
    post.weight *= scale[None, :, None, None]


def known_tokens(captions: int = 20_000) -> list[int]:
    """The token ids that training has met, as far as so many captions tell."""
    rng, found = random.Random("known tokens"), set()
    for _ in range(captions):
        scene = training_scene(rng)
        found.update(lesson(scene, tell(scene, rng), rng).ids)
    return sorted(found)


@torch.no_grad()
def forget_unknown(text: CLIPTextModel) -> None:
    """Clear the embeddings of all other tokens: their random start says nothing, and zeros take no space when packed."""
    layer: Any = text.get_input_embeddings()
    known = known_tokens()
    kept = layer.weight[known].clone()
    layer.weight.zero_()
    layer.weight[known] = kept


def ldm_tensors(unet: UNet2DConditionModel, autoencoder: AutoencoderKL, text: CLIPTextModel) -> dict[str, Tensor]:
    """All tensors under CompVis's names, float16."""
    widths = unet.config["block_out_channels"]
    shape = UNetShape(levels=len(widths), blocks=1, attention=(True,) * (len(widths) - 1) + (False,))
    parts = (
        (UNET, unet_keys(shape).to_ldm(unet.state_dict())),
        (VAE, vae_keys(VaeShape(levels=4, blocks=1)).to_ldm(autoencoder.state_dict())),
        (
            TEXT,
            text_keys().to_ldm(
                {name: value for name, value in text.state_dict().items() if "position_ids" not in name}
            ),
        ),
    )
    return {prefix + name: value.half().contiguous() for prefix, tensors in parts for name, value in tensors.items()}


def export(path: Path, unet: UNet2DConditionModel, autoencoder: AutoencoderKL, text: CLIPTextModel) -> None:
    """Writes the checkpoint; the autoencoder must be folded."""
    forget_unknown(text)
    metadata = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": "Atelier starter",
        "modelspec.architecture": "stable-diffusion-v1",
        "modelspec.implementation": "https://github.com/CompVis/stable-diffusion",
        "modelspec.resolution": "128x128",
        "modelspec.prediction_type": "epsilon",
        "modelspec.description": "A small Stable Diffusion 1.x trained on pictures drawn by code (modules/starter).",
        "atelier.defaults": json.dumps(DEFAULTS),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(ldm_tensors(unet, autoencoder, text), path, metadata=metadata)
