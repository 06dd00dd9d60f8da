"""PixArt sigma (arXiv:2403.04692): a transformer over SDXL's latents that reads T5 XXL; and what PixArt alpha shares with it.

It predicts noise, over DDPM's linear schedule, and its variance, which is not used. Prompts are read in lower case, as by the
authors, and may be of any length; ComfyUI leaves their case as it is. Alpha's network of 512 pixels and less is told from
sigma's by its texts of no words alone, which diffusers' files lack: there "alpha" in the checkpoint's name tells.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tokenizers import normalizers
from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.autoencoders import KlAutoencoder
from modules.families.clip_prompts import PLAIN, TextOptions
from modules.families.ldm_keys import VAE
from modules.families.model import LoadedModel
from modules.families.packing import pack, unpack, whole_patches
from modules.families.pixart_keys import diffusers_names
from modules.families.source import BACKBONE, Parts, Shapes, Source, text_prefix
from modules.families.t5 import Filling, T5Encoder, T5Prompts, build_t5
from modules.families.vae import build_vae
from modules.prompting.tokenizer_files import read_tokenizer
from modules.sampling.denoiser import TRAIN_STEPS, NoiseLevels

LABEL = "PixArt sigma"
TEXT = "t5xxl"
PATCH = 2
HEAD = 72
ALPHA_TOKENS = 120  # sigma has 300
SCALES = {True: 0.18215, False: 0.13025}  # of alpha's latents, and of sigma's
BETAS = (0.0001, 0.02)
POSITIONS = 64  # latents that the positions of a picture of any size are laid over


def detect(shapes: Shapes) -> bool:
    """Is this sigma's network?"""
    return is_pixart(shapes) and not is_alpha(shapes)


def is_pixart(shapes: Shapes) -> bool:
    """Is this a network of PixArt's?"""
    original = (f"{BACKBONE}x_embedder.proj.weight", "t_block.1.weight", "blocks.0.cross_attn.kv_linear.weight", "blocks.0.mlp.fc1.weight")  # fmt: skip
    modern = (f"{BACKBONE}pos_embed.proj.weight", "adaln_single.linear.weight", "caption_projection.linear_1.weight", "transformer_blocks.0.ff.net.0.proj.weight")  # fmt: skip
    return any(
        len(shapes.get(patch, ())) == 4 and all(f"{BACKBONE}{name}" in shapes for name in rest)
        for patch, *rest in (original, modern)
    ) and not any("temporal" in name for name in shapes)


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand."""
    return {"vae_kl4": VAE, TEXT: text_prefix(TEXT)}


def is_alpha(shapes: Shapes) -> bool:
    """Is this network of PixArt's alpha's? Its largest is told the picture's size."""
    told = ("csize_embedder.mlp.0.weight", "adaln_single.emb.resolution_embedder.linear_1.weight")
    empty = shapes.get(f"{BACKBONE}y_embedder.y_embedding", (0,))
    return empty[0] == ALPHA_TOKENS or any(f"{BACKBONE}{name}" in shapes for name in told)


def load(source: Source) -> LoadedModel:
    """Build it; raises ModelFileError naming the first tensor that does not fit."""
    return load_pixart(source, alpha="alpha" in source.name.casefold())


def load_pixart(source: Source, *, alpha: bool) -> LoadedModel:
    """Alpha or sigma; raises as `load`."""
    compute, network = source.compute, source.backbone
    prompts = build_prompts(source)
    backbone = build_backbone(network, compute)
    return LoadedModel(
        name=source.name,
        sha256=source.sha256,
        family="pixart-alpha" if alpha else "pixart-sigma",
        prediction="eps",
        native_size=source.native_size or _size(network, source.name),
        compute=compute,
        levels=linear_levels(compute.device),
        prompts=prompts,
        backbone=backbone,
        network=Network(backbone),
        autoencoder=build_autoencoder(source.vae, compute, alpha=alpha),
        chunked=False,
    )


def autoencoder(tensors: Mapping[str, Tensor], compute: Compute) -> KlAutoencoder:
    """Its autoencoder of those tensors; raises ModelFileError naming the first that does not fit."""
    return build_autoencoder(tensors, compute, alpha=False)


def build_autoencoder(tensors: Mapping[str, Tensor], compute: Compute, *, alpha: bool) -> KlAutoencoder:
    """Alpha's or sigma's; raises as `autoencoder`."""
    return KlAutoencoder(build_vae(tensors, compute.home, compute.vae_dtype), compute, scale=SCALES[alpha])


def _size(tensors: Mapping[str, Tensor], name: str) -> int:
    """What it was trained at, in pixels: by the positions in the authors' files, else by the checkpoint's name."""
    if "pos_embed" in tensors:
        return math.isqrt(tensors["pos_embed"].shape[1]) * 8 * PATCH
    said = {"2k": 2048, "512": 512, "256": 256}
    return next((size for mark, size in said.items() if mark in name.casefold()), 1024)


def linear_levels(device: torch.device) -> NoiseLevels:
    """DDPM's levels (arXiv:2006.11239): beta rises linearly."""
    betas = torch.linspace(*BETAS, TRAIN_STEPS, dtype=torch.float32, device=device)
    return NoiseLevels((1 - betas).cumprod(0))


def build_backbone(tensors: Mapping[str, Tensor], compute: Compute) -> nn.Module:
    """diffusers' network of the shape that the tensors have, under the original names or diffusers'."""
    from diffusers.models.transformers.pixart_transformer_2d import PixArtTransformer2DModel

    original = "x_embedder.proj.weight" in tensors
    weights = diffusers_names(tensors, time="adaln_single", patch="pos_embed") if original else dict(tensors)
    width, channels, patch, _ = needed(weights, "pos_embed.proj.weight").shape
    config: dict[str, Any] = {
        "num_attention_heads": width // HEAD,
        "attention_head_dim": HEAD,
        "in_channels": channels,
        "out_channels": needed(weights, "proj_out.weight").shape[0] // patch**2,
        "num_layers": count_of(weights, "transformer_blocks"),
        "cross_attention_dim": width,
        "sample_size": POSITIONS,
        "patch_size": patch,
        "interpolation_scale": 1,
        "use_additional_conditions": "adaln_single.emb.resolution_embedder.linear_1.weight" in weights,
        "caption_channels": needed(weights, "caption_projection.linear_1.weight").shape[1],
    }
    with empty_weights():
        network = PixArtTransformer2DModel(**config)
    return filled(network, weights, compute.home, compute.dtype)


def build_prompts(source: Source) -> "PixArtPrompts":
    """T5 that reads in lower case."""
    tokenizer = read_tokenizer(source.tokenizers.get(TEXT), TEXT)
    lower = normalizers.Lowercase()
    tokenizer.normalizer = normalizers.Sequence([lower, tokenizer.normalizer]) if tokenizer.normalizer else lower
    encoder = T5Encoder(build_t5(source.text(TEXT), source.compute), source.compute)
    return PixArtPrompts(T5Prompts(tokenizer, encoder, Filling()))


class PixArtPrompts:
    """As Prompts: packed states of T5."""

    def __init__(self, t5: T5Prompts) -> None:
        self._t5 = t5

    def encode(self, texts: Sequence[str], options: TextOptions = PLAIN) -> Tensor:
        """(len(texts), T, D + 1) float32."""
        states, mask = self._t5.read(texts, options)
        return pack(states, mask=mask)

    def encode_together(self, texts: Sequence[str], counts: Sequence[int], options: TextOptions = PLAIN) -> Tensor:
        """As `encode`."""
        return self.encode(texts, options)


class Network:
    """As model.Network; alpha of 1024 is told the picture's height and width in pixels, and their ratio."""

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone

    def __call__(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """As Network's."""
        dtype, (height, width) = self._backbone.dtype, x.shape[-2:]
        states, _, mask = unpack(context)
        size = torch.tensor([[8.0 * height, 8.0 * width]], device=x.device, dtype=dtype).expand(len(x), -1)
        ratio = torch.tensor([[height / width]], device=x.device, dtype=dtype).expand(len(x), -1)
        told = {"resolution": size, "aspect_ratio": ratio} if self._backbone.config.use_additional_conditions else {}
        found = self._backbone(
            whole_patches(x, PATCH).to(dtype),
            encoder_hidden_states=states.to(dtype),
            encoder_attention_mask=mask,
            timestep=t,
            added_cond_kwargs=told or {"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0]
        return found[:, : x.shape[1], :height, :width].float()
