"""Chroma (lodestones 2025): FLUX.1 schnell without its modulation layers, whose values one small network makes instead.

It reads T5 alone, which does not attend to padding; of the padding the transformer sees one token, as it was trained. It is not
distilled, so CFG works. Its levels are not shifted, as in Forge; ComfyUI's default is FLUX's mu of 1.15.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.families import flux, flux_keys
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.autoencoders import KlAutoencoder
from modules.families.flux_network import PATCH, from_tokens, to_tokens, token_places
from modules.families.ldm_keys import VAE
from modules.families.model import LoadedModel
from modules.families.packing import by_length, text_rows, whole_patches
from modules.families.source import BACKBONE, Parts, Shapes, Source, text_prefix
from modules.families.t5 import Filling, t5_prompts
from modules.sampling.denoiser import TRAIN_STEPS
from modules.sampling.flow import FlowLevels

LABEL = "Chroma"
FILLING = Filling(extra=1)
MODULATION = "distilled_guidance_layer."


def detect(shapes: Shapes) -> bool:
    """Is this Chroma's transformer over latents?"""
    first = next(
        (shapes[BACKBONE + name] for name in ("img_in.weight", "x_embedder.weight") if BACKBONE + name in shapes), ()
    )
    return f"{BACKBONE}{MODULATION}in_proj.weight" in shapes and len(first) == 2


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand."""
    return {"vae_kl16": VAE, "t5xxl": text_prefix("t5xxl")}


def load(source: Source) -> LoadedModel:
    """Build it; raises ModelFileError naming the first tensor that does not fit."""
    compute = source.compute.wide
    prompts = t5_prompts(source.text("t5xxl"), source.tokenizers.get("t5xxl"), compute, FILLING)
    backbone = build_backbone(source.backbone, compute)
    return LoadedModel(
        name=source.name,
        sha256=source.sha256,
        family="chroma",
        prediction="flow",
        native_size=source.native_size or 1024,
        compute=source.compute,
        levels=FlowLevels(device=compute.device),
        prompts=prompts,
        backbone=backbone,
        network=Network(backbone),
        autoencoder=autoencoder(source.vae, source.compute),
        chunked=False,
    )


def autoencoder(tensors: Mapping[str, Tensor], compute: Compute) -> KlAutoencoder:
    """FLUX.1's, of those tensors; raises ModelFileError naming the first that does not fit."""
    return flux.autoencoder(tensors, compute)


def build_backbone(tensors: Mapping[str, Tensor], compute: Compute) -> nn.Module:
    """diffusers' transformer of the shape the tensors have, under the original names or diffusers'; raises ModelFileError."""
    from diffusers.models.transformers.transformer_chroma import ChromaTransformer2DModel

    weights = flux_keys.to_diffusers(tensors) if flux_keys.is_original(tensors) else dict(tensors)
    hidden, channels = needed(weights, f"{MODULATION}in_proj.weight").shape
    config = {
        **flux.transformer_sizes(weights),
        "approximator_num_channels": channels,
        "approximator_hidden_dim": hidden,
        "approximator_layers": count_of(weights, f"{MODULATION}layers"),
    }
    with empty_weights(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers' own use of a class that it moved
        backbone = ChromaTransformer2DModel(**config)
    return filled(backbone, weights, compute.home, compute.dtype)


class Network:
    """As model.Network. Texts of one length go through together, so that none needs a mask."""

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone

    def __call__(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """As Network's."""
        (height, width), dtype = x.shape[-2:], self._backbone.dtype
        x = whole_patches(x, PATCH)
        images, places = to_tokens(x).to(dtype), token_places(x)
        found = torch.empty_like(images, dtype=torch.float32)
        for rows, texts in by_length(text_rows(context)):
            found[rows] = self._backbone(
                hidden_states=images[rows],
                encoder_hidden_states=texts.to(dtype),
                timestep=t[rows] / TRAIN_STEPS,
                img_ids=places,
                txt_ids=places.new_zeros(texts.shape[1], 3),
                return_dict=False,
            )[0].float()
        return from_tokens(found, x.shape[-2] // PATCH)[..., :height, :width]
