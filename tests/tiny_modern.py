"""Tiny parts of models since Stable Diffusion 3: seeded random weights, as files hold them and as diffusers' pipelines want them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from tokenizers import AddedToken, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from modules.devices.choice import choose_compute
from modules.families.ldm_keys import VAE, VaeShape, vae_keys
from modules.families.source import BACKBONE, Source, text_prefix
from modules.prompting.tokenizer import build_tokenizer
from tests.tiny_t5 import tiny_tokenizer

CPU = choose_compute(use_cpu=True)
CLIP_WIDTH = 64


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Its weights."""
    return {name: tensor.detach().clone() for name, tensor in module.named_parameters()}


def restless(module: Any, seed: int, deviation: float = 0.1) -> Any:
    """The module with random weights throughout, biases and norms too, so that no mistake hides behind a zero."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * deviation + (parameter.ndim == 1) * 0.5
    return module.eval()


def tiny_vae(seed: int = 0, *, channels: int = 16) -> Any:
    """Without the convolutions around the latents where there are 16 channels, as FLUX's and SD 3's."""
    torch.manual_seed(seed)
    old = channels == 4
    levels: dict[str, Any] = {
        "block_out_channels": (32,) * 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    vae = AutoencoderKL(
        **levels, layers_per_block=1, latent_channels=channels, use_quant_conv=old, use_post_quant_conv=old
    )
    return vae.eval()


def vae_tensors(vae: Any) -> dict[str, Tensor]:
    """Its weights under ldm's names, behind their prefix."""
    keys = vae_keys(VaeShape(levels=4, blocks=1))
    return {VAE + name: tensor for name, tensor in keys.to_ldm(tensors_of(vae)).items()}


def tiny_clip(seed: int = 0, *, big: bool = False, projected: bool = False) -> Any:
    """CLIP L, or bigG with `big`."""
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=CLIP_WIDTH,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=1,
        projection_dim=CLIP_WIDTH,
        hidden_act="gelu" if big else "quick_gelu",
        eos_token_id=49407,
    )
    text = (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)
    return restless(text, seed)


def clip_tensors(text: Any, kind: str) -> dict[str, Tensor]:
    """Its weights as single files hold them."""
    found = {}
    for name, tensor in tensors_of(text).items():
        bare = name.removeprefix("text_model.")
        inner = bare if bare.startswith("text_projection") else f"text_model.{bare}"
        found[text_prefix(kind) + inner] = tensor
    return found


def clip_tokenizer(*, zeros: bool = False) -> Any:
    """For diffusers' pipelines; `zeros`: padding is token 0."""
    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens([AddedToken("<|startoftext|>"), AddedToken("<|endoftext|>")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["<|startoftext|>", "$A", "<|endoftext|>"],
        special_tokens=[("<|startoftext|>", 49406), ("<|endoftext|>", 49407)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="!" if zeros else "<|endoftext|>", model_max_length=77
    )


def t5_tokenizer() -> Any:
    """For diffusers' pipelines."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer(), pad_token="<pad>", eos_token="</s>", model_max_length=512
    )


def behind(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with the prefix before their names."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def source_of(tensors: Mapping[str, Tensor], backbone: Mapping[str, Tensor], **tokenizers: Path) -> Source:
    """A whole checkpoint of that network and those other parts."""
    whole = {**behind(BACKBONE, backbone), **tensors}
    return Source(tensors=whole, name="tiny", compute=CPU, native_size=64, tokenizers=tokenizers)
