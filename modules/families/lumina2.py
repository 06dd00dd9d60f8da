"""Lumina-Image 2.0 (arXiv:2503.21758): a single-stream transformer over FLUX.1's latents that reads Gemma 2 2B.

Shift 6 is the authors'. A prompt follows their sentence for an assistant, a negative one stands alone, and both end after 256
tokens, as in diffusers; ComfyUI's users write that sentence themselves. The authors also scale guided predictions back to the
length of D_c's; ComfyUI's users know them without.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.autoencoders import KlAutoencoder
from modules.families.language_models import gemma2
from modules.families.language_prompts import Template, language_prompts
from modules.families.ldm_keys import VAE
from modules.families.model import LoadedModel
from modules.families.packing import by_length, text_rows, whole_patches
from modules.families.source import BACKBONE, Parts, Shapes, Source, text_prefix
from modules.families.z_image import autoencoder as flux_autoencoder
from modules.sampling.denoiser import TRAIN_STEPS
from modules.sampling.flow import FlowLevels

LABEL = "Lumina 2"
TEXT = "gemma2_2b"
SHIFT = 6.0
PATCH = 2
HEAD = (32, 32, 32)  # of a head's 96 dimensions, those that turn with position, row and column
LONGEST = 2048  # positions there are angles for: 32,768 pixels
TEMPLATE = Template(
    text="<bos>You are an assistant designed to generate superior images with the superior degree of image-text alignment "
    "based on textual prompts or user prompts. <Prompt Start> {}",
    negative="<bos>{}",
    longest=256,
)
_QKV = ".attention.qkv.weight"


def detect(shapes: Shapes) -> bool:
    """Is this Lumina 2's network? Z-Image has padding tokens besides, NewBie reads CLIP too, OmniGen 2 sees pictures."""
    others = ("cap_pad_token", "clip_text_pooled_proj.0.weight", "ref_image_patch_embedder.weight")
    names = ("cap_embedder.1.weight", "time_caption_embed.caption_embedder.1.weight")
    return (
        any(f"{BACKBONE}{name}" in shapes for name in names)
        and any(f"{BACKBONE}noise_refiner.0.{name}.weight" in shapes for name in ("attention.qkv", "attn.to_q"))
        and not any(f"{BACKBONE}{name}" in shapes for name in others)
    )


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand."""
    return {"vae_kl16": VAE, TEXT: text_prefix(TEXT)}


def load(source: Source) -> LoadedModel:
    """Build it; raises ModelFileError naming the first tensor that does not fit."""
    compute = source.compute
    backbone: Any = build_backbone(source.backbone, compute)
    width = backbone.config.cap_feat_dim
    prompts = language_prompts(source, TEXT, gemma2(), TEMPLATE, (-2,), width=width)
    return LoadedModel(
        name=source.name,
        sha256=source.sha256,
        family="lumina2",
        prediction="flow",
        native_size=source.native_size or 1024,
        compute=compute,
        levels=FlowLevels(SHIFT, device=compute.device),
        prompts=prompts,
        backbone=backbone,
        network=Network(backbone),
        autoencoder=autoencoder(source.vae, compute),
        chunked=False,
    )


def autoencoder(tensors: Mapping[str, Tensor], compute: Compute) -> KlAutoencoder:
    """Its autoencoder of those tensors; raises ModelFileError naming the first that does not fit."""
    return flux_autoencoder(tensors, compute)


def build_backbone(tensors: Mapping[str, Tensor], compute: Compute) -> nn.Module:
    """diffusers' network of the shape that the tensors have, under the original names or diffusers'."""
    from diffusers.models.transformers.transformer_lumina2 import Lumina2Transformer2DModel

    weights = _converted(tensors) if "cap_embedder.1.weight" in tensors else dict(tensors)
    width, patch = needed(weights, "x_embedder.weight").shape
    head = needed(weights, "noise_refiner.0.attn.norm_q.weight").shape[0]
    config: dict[str, Any] = {
        "patch_size": PATCH,
        "in_channels": patch // PATCH**2,
        "hidden_size": width,
        "num_layers": count_of(weights, "layers"),
        "num_refiner_layers": count_of(weights, "noise_refiner"),
        "num_attention_heads": width // head,
        "num_kv_heads": needed(weights, "noise_refiner.0.attn.to_k.weight").shape[0] // head,
        "multiple_of": needed(weights, "noise_refiner.0.feed_forward.linear_1.weight").shape[0],  # of which it is once
        "axes_dim_rope": HEAD,
        "axes_lens": (LONGEST,) * 3,
        "cap_feat_dim": needed(weights, "time_caption_embed.caption_embedder.1.weight").shape[1],
    }
    with empty_weights():
        network = Lumina2Transformer2DModel(**config)
    compute = compute.wide
    return filled(network, weights, compute.home, compute.dtype)


def _converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """diffusers' names for the authors'. Queries, keys and values are parted here: diffusers knows one width alone."""
    from diffusers.loaders.single_file_utils import convert_lumina2_to_diffusers

    found = convert_lumina2_to_diffusers({name: value for name, value in tensors.items() if not name.endswith(_QKV)})
    for name, value in tensors.items():
        if name.endswith(_QKV):
            shared = (value.shape[0] - value.shape[1]) // 2  # keys and values are of fewer heads
            parted = value.split([value.shape[1], shared, shared])
            for letter, part in zip("qkv", parted, strict=True):
                found[name.replace(_QKV, f".attn.to_{letter}.weight")] = part
    return found


class Network:
    """As model.Network; the network itself is told 1 - sigma, and answers with x_0 - eps."""

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone

    def __call__(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """As Network's."""
        dtype, (height, width) = self._backbone.dtype, x.shape[-2:]
        whole = whole_patches(x, PATCH).to(dtype)
        found = torch.empty_like(x)
        for rows, states in by_length(text_rows(context)):
            v = self._backbone(
                hidden_states=whole[rows],
                timestep=1 - t[rows] / TRAIN_STEPS,
                encoder_hidden_states=states.to(dtype),
                encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.bool, device=states.device),
                return_dict=False,
            )[0]
            found[rows] = -v[..., :height, :width].to(found)
        return found
