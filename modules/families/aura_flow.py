"""AuraFlow (fal 2024, https://blog.fal.ai/auraflow/), and Pony V7: a rectified-flow transformer over SDXL's latents, with learned places.

It reads Pile-T5 XL, which does not attend to padding; states are zeros there, up to 256 tokens, and the network sees them. Its
levels are shifted by 1.73, its authors' and ComfyUI's value.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modules.core.errors import InputError
from modules.devices.choice import Compute
from modules.families import sdxl
from modules.families.assembly import converted, count_of, empty_weights, filled, needed
from modules.families.autoencoders import KlAutoencoder
from modules.families.ldm_keys import VAE
from modules.families.model import LoadedModel
from modules.families.packing import by_length, text_rows, whole_patches
from modules.families.source import BACKBONE, Parts, Shapes, Source, text_prefix
from modules.families.t5 import Filling, t5_prompts
from modules.sampling.denoiser import TRAIN_STEPS
from modules.sampling.flow import FlowLevels

LABEL = "AuraFlow"
TEXT = "pile_t5xl"
SHIFT = 1.73
HEAD = 256  # width of an attention head
PATCH = 2
FILLING = Filling(least=256, blank=True)


def detect(shapes: Shapes) -> bool:
    """Is this AuraFlow's transformer?"""
    names = ("double_layers.0.attn.w1q.weight", "joint_transformer_blocks.0.attn.add_q_proj.weight")
    return f"{BACKBONE}register_tokens" in shapes and any(BACKBONE + name in shapes for name in names)


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand."""
    return {"vae_kl4": VAE, TEXT: text_prefix(TEXT)}


def load(source: Source) -> LoadedModel:
    """Build it; raises ModelFileError naming the first tensor that does not fit."""
    compute = source.compute.wide
    prompts = t5_prompts(source.text(TEXT), source.tokenizers.get(TEXT), compute, FILLING, kind=TEXT)
    backbone = build_backbone(source.backbone, compute)
    return LoadedModel(
        name=source.name,
        sha256=source.sha256,
        family="aura-flow",
        prediction="flow",
        native_size=source.native_size or 1024,
        compute=source.compute,
        levels=FlowLevels(SHIFT, device=compute.device),
        prompts=prompts,
        backbone=backbone,
        network=Network(backbone),
        autoencoder=autoencoder(source.vae, source.compute),
        chunked=False,
    )


def autoencoder(tensors: Mapping[str, Tensor], compute: Compute) -> KlAutoencoder:
    """SDXL's, of those tensors; raises ModelFileError naming the first that does not fit."""
    return sdxl.autoencoder(tensors, compute)


def build_backbone(tensors: Mapping[str, Tensor], compute: Compute) -> nn.Module:
    """diffusers' transformer of the shape the tensors have, under the original names or diffusers'; raises ModelFileError."""
    from diffusers.loaders.single_file_utils import convert_auraflow_transformer_checkpoint_to_diffusers
    from diffusers.models.transformers.auraflow_transformer_2d import AuraFlowTransformer2DModel

    weights = dict(tensors)
    if "init_x_linear.weight" in weights:
        weights = converted(convert_auraflow_transformer_checkpoint_to_diffusers, weights)
    width, patch = needed(weights, "pos_embed.proj.weight").shape
    config: dict[str, Any] = {
        "patch_size": PATCH,
        "in_channels": patch // PATCH**2,
        "out_channels": needed(weights, "proj_out.weight").shape[0] // PATCH**2,
        "num_mmdit_layers": count_of(weights, "joint_transformer_blocks"),
        "num_single_dit_layers": count_of(weights, "single_transformer_blocks"),
        "attention_head_dim": HEAD,
        "num_attention_heads": width // HEAD,
        "joint_attention_dim": needed(weights, "context_embedder.weight").shape[1],
        "caption_projection_dim": width,
        "pos_embed_max_size": needed(weights, "pos_embed.pos_embed").shape[1],
    }
    with empty_weights():
        backbone = AuraFlowTransformer2DModel(**config)
    return filled(backbone, weights, compute.home, compute.dtype)


class Network:
    """As model.Network. Texts of one length go through together."""

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone
        self._places = int(backbone.config.pos_embed_max_size**0.5)  # a side

    def __call__(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """As Network's; raises InputError for sides that it has no places for."""
        (height, width), dtype = x.shape[-2:], self._backbone.dtype
        for field, side in (("height", height), ("width", width)):
            if side > (most := self._places * PATCH):
                raise InputError(
                    field,
                    f"{field} is {side * 8}: this {LABEL} has places for {most * 8} pixels a side. Make it smaller.",
                )
        x = whole_patches(x, PATCH).to(dtype)
        found = torch.empty_like(x, dtype=torch.float32)
        for rows, texts in by_length(text_rows(context)):
            answer = self._backbone(x[rows], texts.to(dtype), timestep=t[rows] / TRAIN_STEPS, return_dict=False)[0]
            found[rows] = answer.float()
        return found[..., :height, :width]
