"""Sana and Sana 1.5 (arXiv:2410.10629): a linear transformer over the latents of DC-AE that reads Gemma 2 2B.

Shift 3 is the authors'. A prompt, in lower case, follows their instruction to a language model, of which its first state and those
of the last 299 tokens are kept; a negative one stands alone. Widths of cross-attention heads are those of the published sizes.
Sana Sprint, which is another kind of model, is none of this family.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from modules.core.errors import ModelFileError
from modules.devices.choice import Compute
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.clip_prompts import PLAIN, TextOptions
from modules.families.dc_vae import DcAutoencoder, build_dc_vae
from modules.families.language_models import LanguageModel, gemma2
from modules.families.ldm_keys import VAE
from modules.families.model import LoadedModel
from modules.families.packing import pack_rows, unpack, whole_patches
from modules.families.pixart_keys import diffusers_names
from modules.families.source import BACKBONE, Parts, Shapes, Source, text_prefix
from modules.prompting.tokenizer_files import read_tokenizer
from modules.sampling.flow import FlowLevels

LABEL = "Sana"
TEXT = "gemma2_2b"
SHIFT = 3.0
HEAD = 32
CROSS_HEADS = {2240: 112, 1152: 72}  # width of the network -> width of a head
LONGEST = 300
POSITIONS = {
    2048: 1.0,
    4096: 2.0,
}  # of models of that size in pixels, by how much they are scaled; smaller ones have none
BEGIN = "<bos>"
INSTRUCTION = "\n".join(
    (
        "Given a user prompt, generate an 'Enhanced prompt' that provides detailed visual descriptions suitable for image generation. "
        "Evaluate the level of detail in the user prompt:",
        "- If the prompt is simple, focus on adding specifics about colors, shapes, sizes, textures, and spatial relationships to create "
        "vivid and concrete scenes.",
        "- If the prompt is already detailed, refine and enhance the existing details slightly without overcomplicating.",
        "Here are examples of how to transform or refine prompts:",
        "- User Prompt: A cat sleeping -> Enhanced: A small, fluffy white cat curled up in a round shape, sleeping peacefully on a warm "
        "sunny windowsill, surrounded by pots of blooming red flowers.",
        "- User Prompt: A busy city street -> Enhanced: A bustling city street scene at dusk, featuring glowing street lamps, a diverse "
        "crowd of people in colorful clothing, and a double-decker bus passing by towering glass skyscrapers.",
        "Please generate only the enhanced description for the prompt below and avoid including any additional commentary or "
        "evaluations:",
        "User Prompt: ",
    )
)


def detect(shapes: Shapes) -> bool:
    """Is this Sana's network? Sprint is told its guidance besides, and Sana Video has patches in time."""
    original = (
        f"{BACKBONE}x_embedder.proj.weight",
        "attention_y_norm.weight",
        "blocks.0.mlp.inverted_conv.conv.weight",
    )
    modern = (
        f"{BACKBONE}patch_embed.proj.weight",
        "caption_norm.weight",
        "transformer_blocks.0.ff.conv_inverted.weight",
    )
    sprint = ("cfg_embedder.mlp.0.weight", "time_embed.guidance_embedder.linear_1.weight")
    return any(
        len(shapes.get(patch, ())) == 4 and all(f"{BACKBONE}{name}" in shapes for name in rest)
        for patch, *rest in (original, modern)
    ) and not any(f"{BACKBONE}{name}" in shapes for name in sprint)


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand."""
    return {"vae_dc": VAE, TEXT: text_prefix(TEXT)}


def load(source: Source) -> LoadedModel:
    """Build it; raises ModelFileError naming the first tensor that does not fit."""
    compute, network = source.compute, source.backbone
    tokenizer = read_tokenizer(source.tokenizers.get(TEXT), TEXT)  # before gigabytes are read
    prompts = SanaPrompts(tokenizer, LanguageModel(gemma2(), source.text(TEXT), compute))
    size = _size(network, source.name)
    backbone = build_backbone(network, compute, size)
    return LoadedModel(
        name=source.name,
        sha256=source.sha256,
        family="sana",
        prediction="flow",
        native_size=source.native_size or size,
        compute=compute,
        levels=FlowLevels(SHIFT, device=compute.device),
        prompts=prompts,
        backbone=backbone,
        network=Network(backbone),
        autoencoder=autoencoder(source.vae, compute),
        chunked=False,
    )


def autoencoder(tensors: Mapping[str, Tensor], compute: Compute) -> DcAutoencoder:
    """Its autoencoder of those tensors; raises ModelFileError naming the first that does not fit."""
    return build_dc_vae(tensors, compute)


def _size(tensors: Mapping[str, Tensor], name: str) -> int:
    """What it was trained at, in pixels: by the positions in the authors' files, else by the checkpoint's name."""
    if "pos_embed" in tensors:
        return math.isqrt(tensors["pos_embed"].shape[1]) * 32
    said = {"4k": 4096, "2k": 2048, "512": 512}
    return next((size for mark, size in said.items() if mark in name.casefold()), 1024)


def build_backbone(tensors: Mapping[str, Tensor], compute: Compute, size: int = 1024) -> nn.Module:
    """diffusers' network of the shape that the tensors have, under the original names or diffusers'; `size` in pixels."""
    from diffusers.models.transformers.sana_transformer import SanaTransformer2DModel

    original = "x_embedder.proj.weight" in tensors
    weights = diffusers_names(tensors, time="time_embed", patch="patch_embed") if original else dict(tensors)
    width, channels, patch, _ = needed(weights, "patch_embed.proj.weight").shape
    hidden = needed(weights, "transformer_blocks.0.ff.conv_inverted.weight").shape[0] // 2
    cross = CROSS_HEADS.get(width, HEAD)
    config: dict[str, Any] = {
        "in_channels": channels,
        "out_channels": needed(weights, "proj_out.weight").shape[0] // patch**2,
        "num_attention_heads": width // HEAD,
        "attention_head_dim": HEAD,
        "num_layers": count_of(weights, "transformer_blocks"),
        "num_cross_attention_heads": width // cross,
        "cross_attention_head_dim": cross,
        "cross_attention_dim": width,
        "caption_channels": needed(weights, "caption_projection.linear_1.weight").shape[1],
        "mlp_ratio": (hidden + 0.5) / width,  # of which the whole part of the product is taken
        "attention_bias": "transformer_blocks.0.attn1.to_q.bias" in weights,
        "sample_size": size // 32,
        "patch_size": patch,
        "interpolation_scale": POSITIONS.get(size),
        "qk_norm": "rms_norm_across_heads" if "transformer_blocks.0.attn1.norm_q.weight" in weights else None,
    }
    with empty_weights():
        network = SanaTransformer2DModel(**config)
    compute = compute.wide
    return filled(network, weights, compute.home, compute.dtype)


class SanaPrompts:
    """As Prompts: packed states of Gemma 2, the last ones, normalised. What a text gives does not depend on the others."""

    def __init__(self, tokenizer: Tokenizer, model: LanguageModel) -> None:
        if tokenizer.token_to_id(BEGIN) is None:
            raise ModelFileError(
                f'The tokenizer has no "{BEGIN}": it is of another text encoder. Replace it by Gemma 2\'s.'
            )
        self._tokenizer = tokenizer
        self._model = model
        self._instruction = len(self._ids(INSTRUCTION))

    def encode(self, texts: Sequence[str], options: TextOptions = PLAIN) -> Tensor:
        """(len(texts), T, D + 1) float32, of which the last position counts in none."""
        known = {text: self._states(text.lower().strip(), options.negative) for text in dict.fromkeys(texts)}
        return pack_rows([known[text] for text in texts])

    def encode_together(self, texts: Sequence[str], counts: Sequence[int], options: TextOptions = PLAIN) -> Tensor:
        """As `encode`."""
        return self.encode(texts, options)

    def _states(self, text: str, negative: bool) -> Tensor:
        """(T, D) of one text; of the instruction, the first and the last token's states stay."""
        ids = self._ids(text if negative else INSTRUCTION + text)
        kept = ids[: LONGEST if negative else self._instruction + LONGEST - 2]
        if max(kept) >= self._model.vocabulary:
            raise ModelFileError(
                f"The tokenizer knows the token {max(kept)}, the text encoder {self._model.vocabulary} ones: "
                "they are not of one model. Replace one of them."
            )
        states = self._model(torch.tensor(kept))
        return states if negative else torch.cat([states[:1], states[self._instruction - 1 :]])

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(BEGIN + text, add_special_tokens=False).ids


class Network:
    """As model.Network."""

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone

    def __call__(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """As Network's."""
        dtype, (height, width) = self._backbone.dtype, x.shape[-2:]
        states, _, mask = unpack(context)
        v = self._backbone(
            hidden_states=whole_patches(x, self._backbone.config.patch_size).to(dtype),
            encoder_hidden_states=states.to(dtype),
            encoder_attention_mask=mask,
            timestep=t,
            return_dict=False,
        )[0]
        return v[..., :height, :width].float()
