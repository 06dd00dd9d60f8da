"""What a model file is, by the names and shapes of its tensors: its role, and the family it belongs to. A guess, made cheaply."""

import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modules.core.errors import ModelFileError
from modules.library.header import Header, read_header, read_start

Shapes = Mapping[str, tuple[int, ...]]

CHECKPOINT, DIFFUSION, VAE, TEXT = "checkpoint", "diffusion model", "VAE", "text encoder"
LORA, EMBEDDING, CONTROL, UPSCALER = "LoRA", "embedding", "ControlNet", "upscaler"

UNET, FIRST_STAGE = "model.diffusion_model.", "first_stage_model."
TEXT_PREFIXES = ("cond_stage_model.", "conditioner.", "text_encoders.")

_GGUF_FIELD = b"general.architecture" + (8).to_bytes(4, "little")
_LORA = re.compile(r"(\.(lora_(up|down|A|B)\b|hada_w|lokr_w|oft_|diff(_b)?$|dora_scale)|^lora_|^lycoris_)")
_WIDTHS = {768: "SD1", 1024: "SD2", 1280: "SDXL refiner", 2048: "SDXL"}
"""Width of the text that the cross attention reads -> family."""

_MARKS = (
    (
        r"double_blocks\.|double_stream_modulation|single_blocks\.|single_transformer_blocks|lora_unet_(?:double|single)_b",
        "FLUX",
    ),
    (r"joint_blocks\.", "SD3"),
    (r"cap_embedder|noise_refiner", "Lumina 2"),
    (r"transformer_blocks\.0\.img_mlp|txt_norm\.weight", "Qwen-Image"),
    (r"head\.modulation|blocks\.0\.cross_attn\.norm_k", "Wan"),
)
_MARK = re.compile("|".join(f"({pattern})" for pattern, _ in _MARKS))
_TEXT_WIDTH = re.compile(r"attn2[._]to_k[._](lora_down[._]|lora_A[._])?weight$")
_BASES: tuple[tuple[str, str], ...] = (
    ("refiner", "SDXL refiner"),
    ("sdxl", "SDXL"),
    ("stable-diffusion-xl", "SDXL"),
    ("sd_v1", "SD1"),
    ("stable-diffusion-v1", "SD1"),
    ("sd_v2", "SD2"),
    ("stable-diffusion-v2", "SD2"),
    ("sd3", "SD3"),
    ("stable-diffusion-3", "SD3"),
    ("flux", "FLUX"),
    ("lumina", "Lumina 2"),
    ("qwen", "Qwen-Image"),
)
"""What trainers write as the base of a file, and the family."""


@dataclass(frozen=True, kw_only=True)
class Signs:
    """`role` and `family` are "" where nothing tells; `trouble` is a sentence for a file that cannot be used."""

    role: str = ""
    family: str = ""
    trouble: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_signs(path: Path) -> Signs:
    """The signs of a file, or of a diffusers folder; never raises."""
    try:
        if path.is_dir():
            return Signs(role=CHECKPOINT)
        if path.suffix.lower() in (".safetensors", ".sft"):
            return signs_of(read_header(path))
        if path.suffix.lower() == ".gguf":
            return _signs_of_gguf(path)
        return Signs(trouble=_pickle_trouble(path))
    except ModelFileError as error:
        return Signs(trouble=error.message)
    except (OSError, ValueError) as error:
        return Signs(
            trouble=f'"{path.name}" cannot be read: {getattr(error, "strerror", None) or error}. Check the file.'
        )


def signs_of(header: Header) -> Signs:
    """The signs of a safetensors file with that header."""
    role = role_of(header.shapes)
    said = header.metadata.get("modelspec.architecture", "") or header.metadata.get("ss_base_model_version", "")
    family = family_said(said) or family_of(header.shapes, role)
    return Signs(role=role, family=family, metadata=header.metadata)


def role_of(shapes: Shapes) -> str:
    """What a file with these tensors is for."""
    names = list(shapes)
    if _any(names, UNET):
        return CHECKPOINT if _any(names, FIRST_STAGE) and _any(names, *TEXT_PREFIXES) else DIFFUSION
    if any(_LORA.search(name) for name in names):
        return LORA
    if (
        _any(names, "control_model.", "controlnet_", "input_hint_block", "lllite_")
        or "adapter.conv_in.weight" in shapes
    ):
        return CONTROL
    if names and set(names) <= {"emb_params", "string_to_param", "clip_g", "clip_l", "t5xxl", "*"}:
        return EMBEDDING
    if _any(names, "decoder.conv_in.", "encoder.conv_in.", FIRST_STAGE, "decoder.upsamples", "decoder.middle"):
        return VAE
    if _any(
        names,
        "text_model.",
        "encoder.block.",
        "transformer.resblocks",
        "model.layers.",
        "model.embed_tokens",
        "shared.weight",
    ):
        return TEXT
    if _any(names, "conv_first", "params_ema", "model.0.weight", "layers.0.residual_group", "body.0."):
        return UPSCALER
    if "input_blocks.0.0.weight" in shapes or "conv_in.weight" in shapes or any(_mark(name) for name in names):
        return DIFFUSION
    return ""


def family_of(shapes: Shapes, role: str = "") -> str:
    """The family that files with these tensors belong to, "" if they do not tell."""
    for name in shapes:
        if family := _mark(name):
            return family
    for name, shape in shapes.items():
        width = shape[1] if len(shape) > 1 and _TEXT_WIDTH.search(name) else 0
        if width in _WIDTHS:
            family = _WIDTHS[width]
            return "SDXL" if family == "SDXL refiner" and role == LORA else family
    if role == LORA and any(name.startswith(("lora_te1_", "lora_te2_")) for name in shapes):
        return "SDXL"
    if role == EMBEDDING:
        if "clip_g" in shapes:
            return "SDXL"
        return next((_WIDTHS.get(shape[-1], "") for shape in shapes.values() if shape), "")
    if role == VAE:
        return {4: "SD", 16: "FLUX or SD3"}.get(_latent_channels(shapes), "")
    return ""


def family_said(said: str) -> str:
    """The family that a trainer's or a web site's words name, such as "sdxl_base_v1-0" or "SD 1.5"."""
    plain = said.casefold().strip()
    if found := next((family for words, family in _BASES if words in plain), ""):
        return found
    spaced = plain.replace(" ", "").replace(".", "")
    marks = (
        ("sd1", "SD1"),
        ("sd2", "SD2"),
        ("sd3", "SD3"),
        ("sdxl", "SDXL"),
        ("pony", "SDXL"),
        ("illustrious", "SDXL"),
        ("noobai", "SDXL"),
    )
    return next((family for words, family in marks if spaced.startswith(words)), "")


def _any(names: Iterable[str], *prefixes: str) -> bool:
    return any(name.startswith(prefixes) for name in names)


def _mark(name: str) -> str:
    found = _MARK.search(name)
    return _MARKS[found.lastindex - 1][1] if found and found.lastindex else ""


def _latent_channels(shapes: Shapes) -> int:
    found = shapes.get("decoder.conv_in.weight") or shapes.get(f"{FIRST_STAGE}decoder.conv_in.weight") or (0, 0)
    return found[1] if len(found) > 1 else 0


def _signs_of_gguf(path: Path) -> Signs:
    """By the architecture that its first field tells: its length in 8 bytes, then its name."""
    start, size = read_start(path, 1000)
    if start[:4] != b"GGUF":
        words = (
            "is a web page, not a model (was a login needed?)"
            if start.lstrip()[:1] == b"<"
            else f"is no GGUF file of {size} bytes"
        )
        return Signs(trouble=f'"{path.name}" {words}. Download it again.')
    at = start.find(_GGUF_FIELD) + len(_GGUF_FIELD)
    length = int.from_bytes(start[at : at + 8], "little")
    said = start[at + 8 : at + 8 + length].decode(errors="replace") if at >= len(_GGUF_FIELD) and length < 100 else ""
    if said.startswith(("t5", "clip", "llama", "qwen2", "qwen3", "gemma")):
        return Signs(role=TEXT)
    return Signs(role=DIFFUSION, family=family_said(said) or {"sd1": "SD1", "sdxl": "SDXL", "wan": "Wan"}.get(said, ""))


def _pickle_trouble(path: Path) -> str:
    """What is wrong with a file that should be a pickle of tensors, as far as its ends tell."""
    start, size = read_start(path, 64)
    if not size:
        return f'"{path.name}" is incomplete: it has only 0 bytes. Download it again.'
    if start.lstrip()[:1] == b"<":
        return f'"{path.name}" is a web page, not a model (was a login needed?). Download it again.'
    if start[:2] == b"PK":
        whole = zipfile.is_zipfile(path)
        return (
            "" if whole else f'"{path.name}" is incomplete: the end of its {size} bytes is missing. Download it again.'
        )
    return "" if start[:1] == b"\x80" else f'"{path.name}" holds no tensors. Download it again.'
