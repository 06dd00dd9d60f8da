"""The parts that models come in as files of their own: which one a file is, by the names and shapes of its tensors alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from modules.core.paths import TEXT_ENCODER, VAE
from modules.families.source import Shapes


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A kind of part. `label` is what users call it, `example` a file that many have, `folder` where it belongs.

    `width`: of its states, which tells kinds of one architecture apart. `names`: in the names of its files.
    """

    kind: str
    label: str
    example: str
    folder: str = TEXT_ENCODER
    width: int = 0
    names: str = ""

    def __str__(self) -> str:
        return f"{self.label} ({self.example})"


_CLIP = (
    Piece(kind="clip_l", label="the text encoder CLIP-L", example="clip_l.safetensors", width=768, names="clip_l"),
    Piece(kind="clip_h", label="the text encoder OpenCLIP-H", example="clip_h.safetensors", width=1024, names="clip_h"),
    Piece(kind="clip_g", label="the text encoder CLIP-G", example="clip_g.safetensors", width=1280, names="clip_g"),
)
_T5 = (
    Piece(kind="t5xxl", label="the text encoder T5-XXL", example="t5xxl_fp16.safetensors", width=4096, names="t5xxl"),
    Piece(kind="t5base", label="the text encoder T5-Base", example="t5_base.safetensors", width=768, names="t5_base"),
)
_UMT5 = (
    Piece(
        kind="pile_t5xl", label="the text encoder Pile-T5-XL", example="pile_t5xl.safetensors", width=2048, names="pile"
    ),
    Piece(kind="umt5xxl", label="the text encoder UMT5-XXL", example="umt5_xxl.safetensors", width=4096, names="umt5"),
)
_QWEN25 = (
    Piece(
        kind="qwen25_7b",
        label="the text encoder Qwen2.5-VL 7B",
        example="qwen_2.5_vl_7b.safetensors",
        width=3584,
        names="qwen.?2.5|qwen25",
    ),
)
_QWEN3 = (
    Piece(
        kind="qwen3_4b", label="the text encoder Qwen3 4B", example="qwen_3_4b.safetensors", width=2560, names="3_4b"
    ),
    Piece(
        kind="qwen3_8b", label="the text encoder Qwen3 8B", example="qwen_3_8b.safetensors", width=4096, names="3_8b"
    ),
)
_GEMMA2 = (
    Piece(
        kind="gemma2_2b",
        label="the text encoder Gemma 2 2B",
        example="gemma_2_2b_fp16.safetensors",
        width=2304,
        names="gemma",
    ),
)
_GEMMA3 = (
    Piece(
        kind="gemma3_4b", label="the text encoder Gemma 3 4B", example="gemma_3_4b.safetensors", width=2560, names=""
    ),
)
_GLM4 = (Piece(kind="glm4", label="the text encoder GLM-4 9B", example="glm4_9b.safetensors", width=4096, names="glm"),)
_LLAMA = (
    Piece(
        kind="mistral3_24b",
        label="the text encoder Mistral 3 24B",
        example="mistral_3_small_flux2_bf16.safetensors",
        width=5120,
        names="mistral",
    ),
    Piece(
        kind="llama3_8b",
        label="the text encoder Llama 3 8B",
        example="llama_3_8b.safetensors",
        width=4096,
        names="llama",
    ),
)
_VAES = (
    Piece(kind="vae_kl4", label="the VAE of Stable Diffusion", example="vae-ft-mse-840000 or sdxl_vae", folder=VAE),
    Piece(kind="vae_kl16", label="the VAE of FLUX or SD 3", example="ae.safetensors", folder=VAE),
    Piece(kind="vae_flux2", label="the VAE of FLUX.2", example="flux2-vae.safetensors", folder=VAE),
    Piece(kind="vae_qwen", label="the VAE of Qwen-Image", example="qwen_image_vae.safetensors", folder=VAE),
    Piece(kind="vae_dc", label="the VAE of Sana", example="dc-ae-f32c32-sana-1.0.safetensors", folder=VAE),
)
PIECES: Mapping[str, Piece] = {
    piece.kind: piece
    for pieces in (_CLIP, _T5, _UMT5, _QWEN25, _QWEN3, _GEMMA2, _GEMMA3, _GLM4, _LLAMA, _VAES)
    for piece in pieces
}

# What stands before the names of a part within a checkpoint, and what some programs write there in its own file.
_WITHIN = re.compile(
    r"^(first_stage_model\.|vae\.|text_encoders\.\w+\.|cond_stage_model\.|conditioner\.embedders\.\d+\.)"
)
_WRAPPER = re.compile(
    r"^(transformer|model)\.(?=text_model\.|encoder\.|shared\.|transformer\.resblocks\.|token_embedding\.|positional_embedding|"
    r"ln_final\.|model\.|text_projection|decoder\.|embeddings\.|final_layer_norm\.)"
)
_LANGUAGE = re.compile(r"^(model\.language_model\.(?!model\.)|(model\.)?language_model\.model\.)")

_OTHERS = (
    (r"^lora_|^lycoris_|\.lora_[ABud]|\.hada_w|\.lokr_w|^oft_", "is a LoRA"),
    (r"^control_model\.|^controlnet_|^input_hint_block\.", "is a ControlNet"),
    (r"^(emb_params|string_to_param)$|^(clip_[lg]|t5xxl)$", "is an embedding"),
    (r"^(body\.|model\.\d+\.(weight|sub)|params_ema|conv_first\.|layers\.\d+\.residual_group)", "is an upscaler"),
    (r"^conditioner\.embedders\.", "looks like a part or variant of Stable Diffusion XL"),
    (r"^cond_stage_model\.model\.", "looks like a part or variant of Stable Diffusion 2.x"),
    (r"joint_blocks\.|joint_transformer_blocks\.", "looks like Stable Diffusion 3"),
    (r"double_blocks\.|single_transformer_blocks\.|double_stream_modulation", "looks like FLUX"),
    (r"^blocks\.0\.cross_attn\.norm_k\.", "looks like Wan, which draws films"),
    (
        r"(^|\.)clip_txt(_pooled)?_mapper\.",
        "is a stage of Stable Cascade, which is drawn with from its diffusers folders alone",
    ),
    (r"(^|\.)(cfg_embedder\.mlp|time_embed\.guidance_embedder)\.", "is Sana Sprint"),
)
# Of two VAEs or text encoders that fit, the one made for the family.
_PREFERRED = {
    ("Stable Diffusion XL", "vae_kl4"): r"xl",
    ("AuraFlow", "vae_kl4"): r"xl|aura",
    ("Stable Diffusion 1.x", "vae_kl4"): r"ft-mse|ft_mse|840000|kl-f8|sd1|sd15",
    ("Stable Diffusion 3", "vae_kl16"): r"sd3|sd_3|stable.?diffusion.?3",
    ("", "vae_kl16"): r"^ae\b|^ae[._-]|flux",
}


def bare_name(name: str) -> str:
    """The name of a tensor of a VAE or text encoder without what its checkpoint or program put before it."""
    name = _WRAPPER.sub("", _WITHIN.sub("", name))
    return _LANGUAGE.sub("model.", name)


def piece_of(shapes: Shapes, file: str = "") -> Piece | None:
    """Which part a file with these tensors is; None for a network, and for what is no part of a model.

    Architectures are told by names, kinds of one architecture by their width; of a width that none has, by the file's name.
    """
    named = {bare_name(name): shape for name, shape in shapes.items()}
    return _vae(named) or _text(named, file.casefold())


def describe(shapes: Shapes, file: str = "") -> str:
    """What a file that is no whole checkpoint of a known family is, as the end of a sentence."""
    for pattern, words in _OTHERS[:4]:
        if any(re.search(pattern, name) for name in shapes):
            return words
    networks = any(name.startswith(("model.diffusion_model.", "diffusion_model.")) for name in shapes)
    if not networks and (piece := piece_of(shapes, file)):
        return f"is {piece.label}, not a whole model"
    for pattern, words in _OTHERS[4:]:
        if any(re.search(pattern, name) for name in shapes):
            return words
    return "is of a kind that is not known here"


def preferred(label: str, piece: Piece, names: Mapping[str, object]) -> list[str]:
    """Those of the names that are well known for a family of that label; all of them if none is."""
    found = _PREFERRED.get((label, piece.kind)) or _PREFERRED.get((label.rsplit(".", 1)[0], piece.kind))
    pattern = found or _PREFERRED.get(("", piece.kind))
    known = [name for name in names if pattern and re.search(pattern, name.rsplit("/", 1)[-1].casefold())]
    return known or list(names)


def _vae(named: Shapes) -> Piece | None:
    if any(re.match(r"(encoder|decoder)\.(stages\.|(down|up)_blocks\.\d+\.\d+\.)", name) for name in named):
        return PIECES["vae_dc"]
    if len(named.get("decoder.conv1.weight", ())) == 5:
        return PIECES["vae_qwen"]
    first = named.get("decoder.conv_in.weight", ())
    if len(first) == 5:
        return PIECES["vae_qwen"]
    if len(first) != 4 or not any(name.startswith("decoder.") and "norm_out" in name for name in named):
        return None
    if "bn.running_mean" in named or first[1] == 32:
        return PIECES["vae_flux2"]
    return PIECES.get(f"vae_kl{first[1]}")


def _text(named: Shapes, file: str) -> Piece | None:
    """The text encoder, if it is one: of each architecture's pieces the one of its width."""
    clip = _first(
        named,
        ("text_model.embeddings.token_embedding.weight", "embeddings.token_embedding.weight", "token_embedding.weight"),
    )
    if clip:
        return _of_width(_CLIP, clip[1], file)
    if "encoder.block.0.layer.0.SelfAttention.q.weight" in named:
        width = named["encoder.block.0.layer.0.SelfAttention.q.weight"][1]
        biased = "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight" in named
        return _of_width(_UMT5 if biased else _T5, width, file)
    embedding = _first(named, ("model.embed_tokens.weight", "embed_tokens.weight"))
    layer = next((name for name in named if re.match(r"(model\.)?layers\.0\.", name)), "")
    if not embedding or not layer:
        return None
    inside = {name.split("layers.0.", 1)[1] for name in named if re.match(r"(model\.)?layers\.0\.", name)}
    return _of_width(_language(inside), embedding[1], file)


def _language(inside: set[str]) -> tuple[Piece, ...]:
    """The language models whose layers hold these weights."""
    normed = "self_attn.q_norm.weight" in inside
    if "pre_feedforward_layernorm.weight" in inside:
        return _GEMMA3 if normed else _GEMMA2
    if "mlp.gate_up_proj.weight" in inside:
        return _GLM4
    if normed:
        return _QWEN3
    return _QWEN25 if "self_attn.q_proj.bias" in inside else _LLAMA


def _of_width(pieces: tuple[Piece, ...], width: int, file: str) -> Piece:
    exact = next((piece for piece in pieces if piece.width == width), None)
    said = next((piece for piece in pieces if piece.names and re.search(piece.names, file)), None)
    return exact or said or pieces[0]


def _first(named: Shapes, names: tuple[str, ...]) -> tuple[int, ...]:
    return next((named[name] for name in names if len(named.get(name, ())) == 2), ())
