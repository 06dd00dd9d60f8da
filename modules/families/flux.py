"""FLUX.1 (Black Forest Labs 2024): dev, schnell, Fill (inpainting), Kontext, and the control models (depth, canny).

A rectified-flow transformer whose image tokens are 2 x 2 latents; it reads T5's states and CLIP L's pooled vector. Networks with
`guidance_in` are distilled from guidance and told its scale. Their levels are shifted by mu 1.15 at every size, as in ComfyUI and
Forge, whose pictures it draws; diffusers makes mu depend on the size, and reaches 1.15 at 1024 x 1024. schnell's are not shifted.
Prompts are filled up to 256 tokens, which the network sees, as ComfyUI, Forge and schnell's authors do; dev's authors fill to 512.
In half precision times are rounded to it, as in the authors' code and diffusers; ComfyUI and Forge keep them exact.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from modules.core.errors import ModelFileError
from modules.devices.choice import Compute
from modules.families import flux_keys
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.autoencoders import KlAutoencoder
from modules.families.clip import clip_l
from modules.families.clip_prompts import PLAIN, PromptEncoder, TextOptions
from modules.families.flux_network import FluxNetwork
from modules.families.ldm_keys import VAE
from modules.families.model import LoadedModel
from modules.families.packing import pack
from modules.families.source import BACKBONE, Parts, Shapes, Source, text_prefix
from modules.families.t5 import Filling, T5Prompts, t5_prompts
from modules.families.vae import build_vae
from modules.prompting.tokenizer import build_tokenizer
from modules.sampling.flow import FlowLevels

LABEL = "FLUX.1"
LATENT_SCALE, LATENT_SHIFT = 0.3611, 0.1159
MU = 1.15
FILLING = Filling(least=256, attended=True)


def detect(shapes: Shapes) -> bool:
    """Is this FLUX.1's transformer?"""
    original = ("img_in.weight", "vector_in.in_layer.weight", "double_blocks.0.img_attn.qkv.weight")
    diffusers = (
        "x_embedder.weight",
        "time_text_embed.text_embedder.linear_1.weight",
        "single_transformer_blocks.0.proj_mlp.weight",
    )
    return any(
        all(BACKBONE + name in shapes for name in names) and len(shapes[BACKBONE + names[0]]) == 2
        for names in (original, diffusers)
    )


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand."""
    return {"vae_kl16": VAE, "clip_l": text_prefix("clip_l"), "t5xxl": text_prefix("t5xxl")}


def load(source: Source) -> LoadedModel:
    """Build it; raises ModelFileError naming the first tensor that does not fit."""
    compute = source.compute.wide
    t5 = t5_prompts(source.text("t5xxl"), source.tokenizers.get("t5xxl"), compute, FILLING)
    clip = PromptEncoder(build_tokenizer(), clip_l(source.text("clip_l"), compute))
    vae = autoencoder(source.vae, source.compute)
    backbone: Any = build_backbone(source.backbone, compute)
    network = FluxNetwork(backbone, channels=vae.channels)
    distilled = backbone.config.guidance_embeds
    return LoadedModel(
        name=source.name,
        sha256=source.sha256,
        family="flux",
        prediction="flow",
        native_size=source.native_size or 1024,
        compute=source.compute,
        levels=FlowLevels(math.exp(MU) if distilled else 1.0, device=compute.device),
        prompts=Prompts(clip, t5, vector=backbone.config.pooled_projection_dim),
        backbone=backbone,
        network=network,
        autoencoder=vae,
        extra_channels=network.extra,
        chunked=False,
        distilled=distilled,
        referring=network.extra == 0,
    )


def autoencoder(tensors: Mapping[str, Tensor], compute: Compute) -> KlAutoencoder:
    """Its autoencoder of those tensors; raises ModelFileError naming the first that does not fit."""
    vae = build_vae(tensors, compute.home, compute.vae_dtype)
    return KlAutoencoder(vae, compute, scale=LATENT_SCALE, shift=LATENT_SHIFT)


def build_backbone(tensors: Mapping[str, Tensor], compute: Compute) -> nn.Module:
    """diffusers' transformer of the shape the tensors have, under the original names or diffusers'; raises ModelFileError."""
    from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel

    weights = flux_keys.to_diffusers(tensors) if flux_keys.is_original(tensors) else dict(tensors)
    config = {
        **transformer_sizes(weights),
        "pooled_projection_dim": needed(weights, "time_text_embed.text_embedder.linear_1.weight").shape[1],
        "guidance_embeds": any(name.startswith("time_text_embed.guidance_embedder.") for name in weights),
    }
    with empty_weights():
        backbone = FluxTransformer2DModel(**config)
    return filled(backbone, weights, compute.home, compute.dtype)


def transformer_sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """What FLUX.1's transformer and Chroma's are configured by alike, read off the tensors under diffusers' names."""
    width, channels = needed(weights, "x_embedder.weight").shape
    head = needed(weights, "single_transformer_blocks.0.attn.norm_q.weight").shape[0]
    if head % 16:
        raise ModelFileError(
            f"The checkpoint's attention heads are {head} wide: FLUX's are multiples of 16. Get another."
        )
    return {
        "in_channels": channels,
        "out_channels": needed(weights, "proj_out.weight").shape[0],
        "num_layers": count_of(weights, "transformer_blocks"),
        "num_single_layers": count_of(weights, "single_transformer_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": needed(weights, "context_embedder.weight").shape[1],
        "axes_dims_rope": (head // 8, head * 7 // 16, head * 7 // 16),  # 16, 56 and 56 of 128
    }


class Prompts:
    """T5's states with CLIP L's pooled vector. What a text gives does not depend on the others."""

    def __init__(self, clip: PromptEncoder, t5: T5Prompts, *, vector: int) -> None:
        self._clip = clip
        self._t5 = t5
        self._vector = vector  # P

    def encode(self, texts: Sequence[str], options: TextOptions = PLAIN) -> Tensor:
        """(len(texts), T, D + P + 1) float32."""
        states, mask = self._t5.read(texts, options)
        vectors = self._clip.encode(texts, options)[:, 0, -self._vector :]
        return pack(states, vector=vectors, mask=mask)

    def encode_together(self, texts: Sequence[str], counts: Sequence[int], options: TextOptions = PLAIN) -> Tensor:
        """As `encode`."""
        return self.encode(texts, options)
