"""Stable Diffusion 3 and 3.5 (arXiv:2403.03206): medium, with second attention in some blocks in 3.5, large and large turbo.

It reads CLIP L and bigG side by side, both from before their last layer, filled up with zeros to T5's width, then T5's states, and
both pooled vectors; L's is not projected. As in A1111, T5 is off unless the setting `sd3_enable_t5` says otherwise: its states are
zeros then; it reads as many tokens as CLIP, 77 a chunk, and does not weigh them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from modules.core.errors import InputError
from modules.devices.choice import Compute
from modules.families.adding import Added, Adding, TokenCall
from modules.families.assembly import converted, count_of, empty_weights, filled, needed
from modules.families.autoencoders import KlAutoencoder
from modules.families.clip import Clip, clip_g, clip_l
from modules.families.clip_prompts import PLAIN, PromptEncoder, TextOptions
from modules.families.ldm_keys import VAE
from modules.families.model import LoadedModel
from modules.families.packing import pack, unpack, whole_patches
from modules.families.source import BACKBONE, Parts, Shapes, Source, text_prefix
from modules.families.t5 import Filling, T5Prompts, t5_prompts
from modules.families.vae import build_vae
from modules.prompting.tokenizer import build_tokenizer
from modules.sampling.flow import FlowLevels

LABEL = "Stable Diffusion 3"
OPTIONAL = ("t5xxl",)
LATENT_SCALE, LATENT_SHIFT = 1.5305, 0.0609
SHIFT = 3.0
HEAD = 64  # width of an attention head
PATCH = 2
FILLING = Filling(attended=True)
SETTING = "sd3_enable_t5"


def detect(shapes: Shapes) -> bool:
    """Is this SD 3's transformer?"""
    original = ("joint_blocks.0.x_block.attn.qkv.weight", "x_embedder.proj.weight", "y_embedder.mlp.0.weight")
    diffusers = (
        "transformer_blocks.0.attn.add_q_proj.weight",
        "pos_embed.proj.weight",
        "time_text_embed.text_embedder.linear_1.weight",
    )
    return any(all(BACKBONE + name in shapes for name in names) for names in (original, diffusers))


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand."""
    return {"vae_kl16": VAE, **{kind: text_prefix(kind) for kind in ("clip_l", "clip_g", "t5xxl")}}


def load(source: Source) -> LoadedModel:
    """Build it; raises ModelFileError naming the first tensor that does not fit."""
    compute = source.compute.wide
    backbone: Any = build_backbone(source.backbone, compute)
    width = backbone.config.joint_attention_dim
    clip = ClipPair(clip_l(source.text("clip_l"), compute), clip_g(source.text("clip_g"), compute), width)
    return LoadedModel(
        name=source.name,
        sha256=source.sha256,
        family="sd3",
        prediction="flow",
        native_size=source.native_size or 1024,
        compute=source.compute,
        levels=FlowLevels(SHIFT, device=compute.device),
        prompts=Prompts(PromptEncoder(build_tokenizer(), clip), _t5(source, compute), width),
        backbone=backbone,
        network=Network(backbone),
        autoencoder=autoencoder(source.vae, source.compute),
    )


def autoencoder(tensors: Mapping[str, Tensor], compute: Compute) -> KlAutoencoder:
    """Its autoencoder of those tensors; raises ModelFileError naming the first that does not fit."""
    vae = build_vae(tensors, compute.home, compute.vae_dtype)
    return KlAutoencoder(vae, compute, scale=LATENT_SCALE, shift=LATENT_SHIFT)


def _t5(source: Source, compute: Compute) -> Callable[[], T5Prompts] | None:
    """What reads T5 when it is first asked for, which takes the most memory of all; None if the checkpoint has none."""
    tensors, tokenizers = source.text("t5xxl"), source.tokenizers
    if not tensors:
        return None
    return lambda: t5_prompts(tensors, tokenizers.get("t5xxl"), compute, FILLING)


def build_backbone(tensors: Mapping[str, Tensor], compute: Compute) -> nn.Module:
    """diffusers' transformer of the shape the tensors have, under the original names or diffusers'; raises ModelFileError."""
    from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers
    from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

    weights = dict(tensors)
    if "x_embedder.proj.weight" in weights:
        weights = converted(convert_sd3_transformer_checkpoint_to_diffusers, weights)
    places = needed(weights, "pos_embed.pos_embed")  # (1, n n, D)
    with empty_weights():
        backbone: Any = SD3Transformer2DModel(**_config(weights))
    backbone.pos_embed.pos_embed = places.float()
    backbone.pos_embed.pos_embed_max_size = int(places.shape[1] ** 0.5)
    return filled(backbone, weights, compute.home, compute.dtype)


def _config(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of diffusers' SD3Transformer2DModel; the table of places is made smallest, since the file has it."""
    width, channels = needed(weights, "pos_embed.proj.weight").shape[:2]
    count = count_of(weights, "transformer_blocks")
    second = (f"transformer_blocks.{i}.attn2.to_q.weight" in weights for i in range(count))
    return {
        "sample_size": PATCH,
        "pos_embed_max_size": 1,
        "patch_size": PATCH,
        "in_channels": channels,
        "out_channels": needed(weights, "proj_out.weight").shape[0] // PATCH**2,
        "num_layers": count,
        "attention_head_dim": HEAD,
        "num_attention_heads": width // HEAD,
        "joint_attention_dim": needed(weights, "context_embedder.weight").shape[1],
        "caption_projection_dim": width,
        "pooled_projection_dim": needed(weights, "time_text_embed.text_embedder.linear_1.weight").shape[1],
        "dual_attention_layers": tuple(i for i, has in enumerate(second) if has),
        "qk_norm": "rms_norm" if "transformer_blocks.0.attn.norm_q.weight" in weights else None,
    }


class Network:
    """As model.Network."""

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone
        self._added = Adding()
        self.adding = self._added.adding

    def __call__(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """As Network's; raises InputError for sides that it has no places for."""
        (height, width), dtype = x.shape[-2:], self._backbone.dtype
        for field, side in (("height", height), ("width", width)):
            if side > (most := self._backbone.pos_embed.pos_embed_max_size * PATCH):
                raise InputError(
                    field,
                    f"{field} is {side * 8}: this model has places for {most * 8} pixels a side. Make it smaller.",
                )
        states, vector, _ = unpack(context.to(dtype), vector=self._backbone.config.pooled_projection_dim)
        x = whole_patches(x, PATCH).to(dtype)
        call = TokenCall(x, t, states.unbind(), vector)
        with self._added.within(self._backbone, call, range(len(x)), len(x), self._spell):
            found = self._backbone(x, states, vector, t, return_dict=False)[0]
        return found[..., :height, :width].float()

    def _spell(self, added: Added, like: Tensor) -> dict[str, Any]:
        """What is added, as diffusers' transformer takes it."""
        return {"block_controlnet_hidden_states": added.like(like).blocks}


class ClipPair:
    """CLIP L and bigG as one encoder: (ids (B, 77), clip skip) -> (B, 77, `width`) and both vectors (B, P), float32."""

    def __init__(self, first: Clip, second: Clip, width: int) -> None:
        self._encoders = (first, second)
        self._width = width

    def __call__(self, ids: Tensor, clip_skip: int) -> tuple[Tensor, Tensor]:
        """Their states side by side, zeros up to `width`."""
        states, vectors = zip(*(encoder(ids, clip_skip) for encoder in self._encoders), strict=True)
        both = torch.cat(states, dim=2)
        return nn.functional.pad(both, (0, self._width - both.shape[2])), torch.cat(vectors, dim=1)


class Prompts:
    """CLIP's states and then T5's, with the pooled vectors of each prompt's first chunk."""

    def __init__(self, clip: PromptEncoder, t5: Callable[[], T5Prompts] | None, width: int) -> None:
        self._clip = clip
        self._read_t5 = t5
        self._t5: T5Prompts | None = None
        self._width = width

    def encode(self, texts: Sequence[str], options: TextOptions = PLAIN) -> Tensor:
        """(len(texts), 2 x 77 n, D + P + 1) float32; raises InputError where T5 is asked for and there is none."""
        return self._with_t5(self._clip.encode(texts, options), texts, options)

    def encode_together(self, texts: Sequence[str], counts: Sequence[int], options: TextOptions = PLAIN) -> Tensor:
        """As `encode`; CLIP's mean is kept for all of them."""
        return self._with_t5(self._clip.encode_together(texts, counts, options), texts, options)

    def _with_t5(self, clip: Tensor, texts: Sequence[str], options: TextOptions) -> Tensor:
        states, vectors = clip.split([self._width, clip.shape[2] - self._width], dim=2)
        t5 = self._states(texts, options, states.shape[1]) if options.t5 else torch.zeros_like(states)
        return pack(torch.cat([states, t5.to(states)], dim=1), vector=vectors[:, 0])

    def _states(self, texts: Sequence[str], options: TextOptions, length: int) -> Tensor:
        """T5's states (B, length, D)."""
        if self._t5 is None:
            if self._read_t5 is None:
                raise InputError(
                    SETTING,
                    f"{SETTING} is on, but this checkpoint has no T5. Choose T5-XXL as its text encoder, or turn it off.",
                )
            self._t5, self._read_t5 = self._read_t5(), None
        unweighed = options if options.emphasis == "None" else replace(options, emphasis="Ignore")
        return self._t5.read_exactly(texts, length, unweighed)
