"""Stable Diffusion 1.x (arXiv:2112.10752) of any size, from a single file in CompVis's layout.

Sizes are read off the tensors. What shapes do not tell is as in SD 1.x: 8 attention heads in the U-Net, 32 norm groups,
text heads of width 64, the scaled-linear schedule.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.families.assembly import empty_weights, filled
from modules.families.ldm_keys import TEXT, UNET, VAE, text_keys, vae_keys, vae_shape
from modules.families.model import LoadedModel, without_prefix
from modules.families.unet import build_unet
from modules.library.prediction import Prediction
from modules.prompting.encode import PromptEncoder
from modules.prompting.tokenizer import build_tokenizer
from modules.sampling.denoiser import NoiseLevels, scaled_linear_alphas_cumprod
from modules.sampling.flow import FlowLevels

LATENT_SCALE = 0.18215
EPS = Prediction()
IN_CHANNELS = (4, 8, 9)  # text to image, InstructPix2Pix (arXiv:2211.09800), inpainting
NATIVE = {768: 512}  # context width -> size in pixels; files of other widths say it in their metadata


def detect(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Is this a whole SD 1.x checkpoint?"""
    first = shapes.get(f"{UNET}input_blocks.0.0.weight")
    embedding = shapes.get(f"{TEXT}embeddings.token_embedding.weight")
    return bool(
        first
        and embedding
        and f"{VAE}decoder.conv_in.weight" in shapes
        and f"{UNET}label_emb.0.0.weight" not in shapes
        and first[1] in IN_CHANNELS
    )


def detect_vae(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Is this an autoencoder of SD 1.x to XL, alone or within a checkpoint?"""
    return any(shapes.get(f"{prefix}post_quant_conv.weight", ())[:1] == (4,) for prefix in ("", VAE))


def load_vae(tensors: Mapping[str, Tensor], compute: Compute) -> nn.Module:
    """The autoencoder of a file, alone or within a checkpoint; raises ModelFileError naming the first tensor that does not fit."""
    return build_vae(without_prefix(tensors, VAE) or tensors, compute.device, compute.vae_dtype)


def load(
    tensors: Mapping[str, Tensor],
    *,
    name: str,
    sha256: str,
    native_size: int | None,
    compute: Compute,
    prediction: Prediction | None = None,
) -> LoadedModel:
    """Build the parts from the tensors of a file; raises ModelFileError naming the first tensor that does not fit."""
    device, prediction = compute.device, prediction or EPS
    unet: Any = build_unet(without_prefix(tensors, UNET), device, compute.dtype)
    if compute.xformers:
        unet.enable_xformers_memory_efficient_attention()
    vae = build_vae(without_prefix(tensors, VAE), device, compute.vae_dtype)
    text = build_text(without_prefix(tensors, TEXT), device, compute.dtype)
    width = tensors[f"{TEXT}embeddings.token_embedding.weight"].shape[1]
    return LoadedModel(
        name=name,
        sha256=sha256,
        family="sd1",
        prediction=prediction.kind,
        latent_channels=4,
        latent_scale=LATENT_SCALE,
        downscale=8,
        native_size=native_size or NATIVE.get(width, 512),
        compute=compute,
        levels=levels_of(prediction, device),
        prompts=PromptEncoder(build_tokenizer(), _TextEncoder(text, compute)),
        unet=unet,
        vae=vae,
        extra_channels=unet.config.in_channels - 4,
    )


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


def build_vae(tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> nn.Module:
    """diffusers' autoencoder of the shape the ldm tensors have."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    shape = vae_shape(tensors)
    widths = tuple(tensors[f"encoder.down.{level}.block.0.conv2.weight"].shape[0] for level in range(shape.levels))
    config: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * shape.levels,
        "up_block_types": ("UpDecoderBlock2D",) * shape.levels,
        "block_out_channels": widths,
        "layers_per_block": shape.blocks,
        "latent_channels": tensors["post_quant_conv.weight"].shape[0],
    }
    with empty_weights():
        vae = AutoencoderKL(**config)
    return filled(vae, vae_keys(shape).to_module(tensors), device, dtype)


def build_text(tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> nn.Module:
    """transformers' CLIP text encoder of the shape the tensors have."""
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    vocabulary, width = tensors["embeddings.token_embedding.weight"].shape
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=tensors["encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=1 + max(int(key.split(".")[2]) for key in tensors if key.startswith("encoder.layers.")),
        num_attention_heads=width // 64,
        max_position_embeddings=tensors["embeddings.position_embedding.weight"].shape[0],
    )
    with empty_weights():
        text = CLIPTextModel(config)
    return filled(text, text_keys().to_module(tensors), device, dtype)
