"""Stable Diffusion XL (arXiv:2307.01952), base and refiner, from a single file.

The base reads CLIP L's states and OpenCLIP bigG's side by side, both from before the last layer and not normalised, the refiner
bigG's alone. bigG's pooled vector, the picture's size and crop, and the refiner's aesthetic score come in as one vector.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from modules.devices.choice import Compute
from modules.families.autoencoders import KlAutoencoder
from modules.families.clip_prompts import PLAIN, PromptEncoder, TextOptions
from modules.families.compiled import unet_of, vae_of
from modules.families.ldm_keys import UNET, VAE
from modules.families.model import LoadedModel
from modules.families.sd1 import EPS, IN_CHANNELS, clip_of, levels_of
from modules.families.sd2 import open_clip_of, padded_with_zeros
from modules.families.source import Parts, Shapes, Source, Tell, untold
from modules.families.unet import UNetNetwork
from modules.prompting.tokenizer import END, build_tokenizer

LABEL = "Stable Diffusion XL"
LATENT_SCALE = 0.13025
BIG_G_WIDTH = 1280
CLIP_L = "conditioner.embedders.0.transformer.text_model."
BIG_G = "conditioner.embedders.1.model."
REFINER_BIG_G = "conditioner.embedders.0.model."
FOURIER = 256
AESTHETIC = {False: 6.0, True: 2.5}
"""The refiner's aesthetic score of a prompt and of a negative prompt, A1111's settings by default."""


def detect(shapes: Shapes) -> bool:
    """Is this the U-Net of an SDXL base or refiner?"""
    first = shapes.get(f"{UNET}input_blocks.0.0.weight")
    return bool(first and f"{UNET}label_emb.0.0.weight" in shapes and first[1] in IN_CHANNELS)


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand: a refiner has no CLIP L."""
    if is_refiner(shapes):
        return {"vae_kl4": VAE, "clip_g": REFINER_BIG_G}
    return {"vae_kl4": VAE, "clip_l": CLIP_L, "clip_g": BIG_G}


def is_refiner(shapes: Shapes) -> bool:
    """Does the U-Net see bigG's states alone?"""
    context = shapes.get(f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight", (0, 0))[1]
    return f"{REFINER_BIG_G}ln_final.weight" in shapes or context == BIG_G_WIDTH


def load(source: Source) -> LoadedModel:
    """Build it; raises ModelFileError naming the first tensor that does not fit."""
    compute, prediction = source.compute, source.prediction or EPS
    unet = unet_of(source)
    refiner = is_refiner({key: tuple(tensor.shape) for key, tensor in source.tensors.items()})
    tokenizer = build_tokenizer()
    encoders = [PromptEncoder(tokenizer, BigG(source, REFINER_BIG_G if refiner else BIG_G))]
    if not refiner:
        encoders.insert(0, PromptEncoder(tokenizer, ClipL(clip_of(source, CLIP_L), compute)))
    return LoadedModel(
        name=source.name,
        sha256=source.sha256,
        family="sdxl-refiner" if refiner else "sdxl",
        prediction=prediction.kind,
        native_size=source.native_size or 1024,
        compute=compute,
        levels=levels_of(prediction, compute.device),
        prompts=Prompts(encoders, scored=refiner),
        backbone=unet,
        network=UNetNetwork(unet, compute, refiner_vector if refiner else base_vector),
        autoencoder=autoencoder(source.vae, compute, source.tell),
        extra_channels=unet.config.in_channels - 4,
    )


def autoencoder(tensors: Mapping[str, Tensor], compute: Compute, tell: Tell = untold) -> KlAutoencoder:
    """Its autoencoder of those tensors; raises ModelFileError naming the first that does not fit."""
    return KlAutoencoder(vae_of(tensors, compute, tell), compute, scale=LATENT_SCALE)


class ClipL:
    """CLIP L's states before the last layer."""

    def __init__(self, text: Any, compute: Compute) -> None:
        self._text = text
        self._device = compute.device

    def __call__(self, ids: Tensor, clip_skip: int) -> Tensor:
        """ids (B, 77) -> (B, 77, 768) float32; clip skip has no effect, as in A1111."""
        return self._text(ids.to(self._device), output_hidden_states=True).hidden_states[-2].float()


class BigG:
    """OpenCLIP's states before the last layer, and its pooled vector: the last states at the end token, projected."""

    def __init__(self, source: Source, prefix: str) -> None:
        compute = source.compute
        self._text = open_clip_of(source, prefix)
        self._projection = source.tensors[f"{prefix}text_projection"].to(compute.device, compute.dtype)  # (D, P)
        self._device = compute.device

    def __call__(self, ids: Tensor, clip_skip: int) -> tuple[Tensor, Tensor]:
        """ids (B, 77) -> (B, 77, D) and (B, P), float32."""
        ids = padded_with_zeros(ids).to(self._device)
        out = self._text(ids, output_hidden_states=True)
        ends = (ids == END).int().argmax(dim=1)
        last = out.last_hidden_state[torch.arange(len(ids), device=ids.device), ends]
        return out.hidden_states[-2].float(), (last.to(self._projection.dtype) @ self._projection).float()


class Prompts:
    """Both encoders' states side by side, then the pooled vector and, if `scored`, the aesthetic score.

    A negative prompt of no text is all zeros, as in A1111.
    """

    def __init__(self, encoders: Sequence[PromptEncoder], *, scored: bool) -> None:
        self._encoders = tuple(encoders)
        self._scored = scored

    def encode(self, texts: Sequence[str], options: TextOptions = PLAIN) -> Tensor:
        """As PromptEncoder's."""
        return self._joined(texts, options, lambda encoder: encoder.encode(texts, options))

    def encode_together(self, texts: Sequence[str], counts: Sequence[int], options: TextOptions = PLAIN) -> Tensor:
        """As PromptEncoder's."""
        return self._joined(texts, options, lambda encoder: encoder.encode_together(texts, counts, options))

    def _joined(self, texts: Sequence[str], options: TextOptions, encode: Callable[[PromptEncoder], Tensor]) -> Tensor:
        states = torch.cat([encode(encoder) for encoder in self._encoders], dim=2)
        if options.negative and not any(texts):
            states = torch.zeros_like(states)
        if not self._scored:
            return states
        score = fourier(torch.full((1, 1), AESTHETIC[options.negative], device=states.device))
        return torch.cat([states, score.expand(*states.shape[:2], -1)], dim=2)


def fourier(values: Tensor) -> Tensor:
    """(B, n) -> (B, 256 n): cosines, then sines, of each value at 128 frequencies from 1 down to 1/10,000."""
    half = FOURIER // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, device=values.device) / half)
    angles = values.float()[..., None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1).flatten(1)


def base_vector(told: Tensor, height: int, width: int) -> Tensor:
    """The pooled text (B, P) -> (B, P + 1536): with the original size, the crop's corner and the target size, in pixels."""
    sizes = torch.tensor([[height, width, 0, 0, height, width]], device=told.device)
    return torch.cat([told, fourier(sizes).expand(len(told), -1)], dim=1)


def refiner_vector(told: Tensor, height: int, width: int) -> Tensor:
    """The pooled text and the score (B, P + 256) -> (B, P + 1280): with the original size and the crop's corner between."""
    sizes = torch.tensor([[height, width, 0, 0]], device=told.device)
    pooled, score = told[:, :-FOURIER], told[:, -FOURIER:]
    return torch.cat([pooled, fourier(sizes).expand(len(told), -1), score], dim=1)
