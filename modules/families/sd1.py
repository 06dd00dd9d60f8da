"""Stable Diffusion 1.x (arXiv:2112.10752) of any size, from a single file in CompVis's layout.

Sizes are read off the tensors. What shapes do not tell is as in SD 1.x: 8 attention heads in the U-Net, 32 norm groups,
text heads of width 64, the scaled-linear schedule.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.autoencoders import KlAutoencoder
from modules.families.clip_prompts import PromptEncoder
from modules.families.compiled import text_of, unet_of, vae_of
from modules.families.ldm_keys import TEXT, UNET, VAE, text_keys
from modules.families.model import LoadedModel
from modules.families.source import Parts, Shapes, Source, Tell, untold
from modules.families.unet import UNetNetwork
from modules.library.prediction import Prediction
from modules.prompting.tokenizer import END, build_tokenizer
from modules.sampling.denoiser import NoiseLevels, scaled_linear_alphas_cumprod
from modules.sampling.flow import FlowLevels

LATENT_SCALE = 0.18215
EPS = Prediction()
LABEL = "Stable Diffusion 1.x"
IN_CHANNELS = (4, 8, 9)  # text to image, InstructPix2Pix (arXiv:2211.09800), inpainting
NATIVE = {768: 512}  # context width -> size in pixels; files of other widths say it in their metadata


def detect(shapes: Shapes) -> bool:
    """Is this the U-Net of an SD 1.x?"""
    first = shapes.get(f"{UNET}input_blocks.0.0.weight")
    return bool(
        first
        and first[1] in IN_CHANNELS
        and f"{UNET}label_emb.0.0.weight" not in shapes
        and len(shapes.get(f"{UNET}middle_block.1.proj_in.weight", ())) == 4
    )


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand."""
    return {"vae_kl4": VAE, "clip_l": TEXT}


def load(source: Source) -> LoadedModel:
    """Build it; raises ModelFileError naming the first tensor that does not fit."""
    compute, prediction = source.compute, source.prediction or EPS
    unet, text = unet_of(source), clip_of(source, TEXT)
    return LoadedModel(
        name=source.name,
        sha256=source.sha256,
        family="sd1",
        prediction=prediction.kind,
        native_size=source.native_size or NATIVE.get(unet.config.cross_attention_dim, 512),
        compute=compute,
        levels=levels_of(prediction, compute.device),
        prompts=PromptEncoder(build_tokenizer(), _TextEncoder(text, compute)),
        backbone=unet,
        network=UNetNetwork(unet, compute),
        autoencoder=autoencoder(source.vae, compute, source.tell),
        extra_channels=unet.config.in_channels - 4,
    )


def autoencoder(tensors: Mapping[str, Tensor], compute: Compute, tell: Tell = untold) -> KlAutoencoder:
    """Its autoencoder of those tensors; raises ModelFileError naming the first that does not fit."""
    return KlAutoencoder(vae_of(tensors, compute, tell), compute, scale=LATENT_SCALE)


def clip_of(source: Source, prefix: str) -> Any:
    """The CLIP L behind a prefix."""
    tensors, device = source.part(prefix), source.compute.home
    return text_of(tensors, lambda dtype: build_text(tensors, device, dtype), source.compute, source.tell)


def levels_of(prediction: Prediction, device: torch.device) -> NoiseLevels:
    """The noise levels of Stable Diffusion's schedule, or a flow's."""
    if prediction.kind == "flow":
        return FlowLevels(device=device)
    levels = NoiseLevels(scaled_linear_alphas_cumprod().to(device))
    return levels.zero_terminal() if prediction.zero_terminal else levels


class _TextEncoder:
    """CLIP's hidden states, normalised as SD 1.x was trained."""

    def __init__(self, text: Any, compute: Compute) -> None:
        self._text = text
        self._device = compute.device

    def __call__(self, ids: Tensor, clip_skip: int) -> Tensor:
        """ids (B, 77) -> (B, 77, D) float32; clip skip n takes the n-th last layer (beyond the first one: the first)."""
        states = self._text(ids.to(self._device), output_hidden_states=True).hidden_states
        layer = max(len(states) - clip_skip, 1)
        return self._text.final_layer_norm(states[layer]).float()


def build_text(
    tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype, *, activation: str = "quick_gelu"
) -> nn.Module:
    """transformers' CLIP text encoder of the shape the tensors have; raises ModelFileError."""
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    vocabulary, width = needed(tensors, "embeddings.token_embedding.weight").shape
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=needed(tensors, "encoder.layers.0.mlp.fc1.weight").shape[0],
        num_hidden_layers=count_of(tensors, "encoder.layers"),
        num_attention_heads=width // 64,
        max_position_embeddings=needed(tensors, "embeddings.position_embedding.weight").shape[0],
        hidden_act=activation,
        eos_token_id=END,
    )
    with empty_weights():
        text = CLIPTextModel(config)
    return filled(text, text_keys().to_module(tensors), device, dtype)
