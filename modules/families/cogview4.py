"""CogView 4 (THUDM, 2025, after arXiv:2403.05121): a transformer over latents of its own autoencoder that reads GLM-4 9B.

Levels are sigma = m u / (1 + (m - 1) u), and the network is told u: m = 0.25 + 0.75 sqrt(n / 256) for n tokens of the picture. The
levels that samplers go through are those of 1024 x 1024, m = 3.25, at every size. Prompts end after 1024 tokens, and are filled
up before the text to a multiple of 16, with padding that the language model and the network see as text, as in diffusers.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.autoencoders import KlAutoencoder
from modules.families.language_models import glm4
from modules.families.language_prompts import Template, language_prompts
from modules.families.ldm_keys import VAE
from modules.families.model import LoadedModel
from modules.families.packing import by_length, text_rows, whole_patches
from modules.families.source import BACKBONE, Parts, Shapes, Source, text_prefix
from modules.families.vae import build_vae
from modules.sampling.denoiser import TRAIN_STEPS
from modules.sampling.flow import FlowLevels

LABEL = "CogView 4"
TEXT = "glm4"
PATCH = 2
HEAD = 128
SIZES = 6  # numbers told beside the time: the original and the target size, and the crop's corner
TEMPLATE = Template(
    text="[gMASK]<sop>{}", longest=1024, padding="<|endoftext|>", before=True, multiple=16, attended=True
)


def detect(shapes: Shapes) -> bool:
    """Is this CogView 4's network? That of CogView 3 Plus embeds patches by a convolution."""
    return (
        len(shapes.get(f"{BACKBONE}patch_embed.proj.weight", ())) == 2
        and f"{BACKBONE}patch_embed.text_proj.weight" in shapes
        and f"{BACKBONE}time_condition_embed.condition_embedder.linear_1.weight" in shapes
    )


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand."""
    return {"vae_kl16": VAE, TEXT: text_prefix(TEXT)}


def load(source: Source) -> LoadedModel:
    """Build it; raises ModelFileError naming the first tensor that does not fit."""
    compute = source.compute
    backbone: Any = build_backbone(source.backbone, compute)
    vae = autoencoder(source.vae, compute)
    width = backbone.config.text_embed_dim
    return LoadedModel(
        name=source.name,
        sha256=source.sha256,
        family="cogview4",
        prediction="flow",
        native_size=source.native_size or 1024,
        compute=compute,
        levels=FlowLevels(shift_of(1024 // 16 * 1024 // 16), device=compute.device),
        prompts=language_prompts(source, TEXT, glm4(), TEMPLATE, (-2,), width=width),
        backbone=backbone,
        network=Network(backbone, downscale=vae.downscale),
        autoencoder=vae,
        extra_channels=backbone.config.in_channels - backbone.config.out_channels,
        chunked=False,
    )


def shift_of(tokens: int) -> float:
    """m of a picture of that many tokens."""
    return 0.25 + 0.75 * math.sqrt(tokens / 256)


def autoencoder(tensors: Mapping[str, Tensor], compute: Compute) -> KlAutoencoder:
    """Its autoencoder of those tensors, whose latents are taken as they are; raises ModelFileError."""
    return KlAutoencoder(build_vae(tensors, compute.home, compute.vae_dtype), compute, scale=1.0)


def build_backbone(tensors: Mapping[str, Tensor], compute: Compute) -> nn.Module:
    """diffusers' network of the shape that the tensors have, under diffusers' names, in which it was published."""
    from diffusers.models.transformers.transformer_cogview4 import CogView4Transformer2DModel

    width, patch = needed(tensors, "patch_embed.proj.weight").shape
    told = needed(tensors, "time_condition_embed.condition_embedder.linear_1.weight").shape[1]
    config: dict[str, Any] = {
        "patch_size": PATCH,
        "in_channels": patch // PATCH**2,
        "out_channels": needed(tensors, "proj_out.weight").shape[0] // PATCH**2,
        "num_layers": count_of(tensors, "transformer_blocks"),
        "attention_head_dim": HEAD,
        "num_attention_heads": width // HEAD,
        "text_embed_dim": needed(tensors, "patch_embed.text_proj.weight").shape[1],
        "time_embed_dim": needed(tensors, "time_condition_embed.timestep_embedder.linear_1.weight").shape[0],
        "condition_dim": told // SIZES,
    }
    with empty_weights():
        network = CogView4Transformer2DModel(**config)
    compute = compute.wide
    return filled(network, tensors, compute.home, compute.dtype)


class Network:
    """As model.Network."""

    def __init__(self, backbone: Any, *, downscale: int) -> None:
        self._backbone = backbone
        self._downscale = downscale

    def __call__(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """As Network's."""
        dtype, (height, width) = self._backbone.dtype, x.shape[-2:]
        whole = whole_patches(x, PATCH).to(dtype)
        m, sigma = shift_of(whole.shape[2] * whole.shape[3] // PATCH**2), t / TRAIN_STEPS
        u = sigma / (m - (m - 1) * sigma)
        size = torch.tensor([[height, width]], device=x.device) * float(self._downscale)
        found = x.new_empty(len(x), self._backbone.config.out_channels, height, width)
        for rows, states in by_length(text_rows(context)):
            sizes = size.expand(len(rows), -1)
            v = self._backbone(
                hidden_states=whole[rows],
                encoder_hidden_states=states.to(dtype),
                timestep=TRAIN_STEPS * u[rows],
                original_size=sizes,
                target_size=sizes,
                crop_coords=torch.zeros_like(sizes),
                return_dict=False,
            )[0]
            found[rows] = v[..., :height, :width].to(found)
        return found
