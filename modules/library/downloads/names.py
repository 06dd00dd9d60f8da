"""Kinds of models and the folders they go to; names that are safe in every file system."""

import re
import unicodedata
from pathlib import Path, PurePosixPath

from modules.core.errors import InputError, UnknownName, short
from modules.core.paths import TOKENIZER, Paths

KINDS = {
    "Stable-diffusion": "Checkpoint",
    "Lora": "LoRA",
    "VAE": "VAE",
    "embeddings": "Textual inversion",
    "ControlNet": "ControlNet",
    "ESRGAN": "Upscaler",
    "text_encoder": "Text encoder",
    "diffusion_models": "Diffusion model",
    "hypernetworks": "Hypernetwork",
    "ControlNetPreprocessor": "Preprocessor",
    TOKENIZER: "Tokenizer",
}
"""The folder below `models/`, A1111's where it has one -> what the page calls what is in it."""

SINGLE = tuple(kind for kind in KINDS if kind != TOKENIZER)
"""The kinds that a file is put into as it comes; tokenizers lie in folders of their own."""

SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx")
PART = ".part"
MAX_BYTES = 180  # of a name; what is put before and behind it has to fit too
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')


def folder_of(paths: Paths, kind: str) -> Path:
    """Where new files of that kind are written; raises UnknownName."""
    if kind not in KINDS:
        raise UnknownName.among("kind", kind, KINDS)
    return paths.own(kind)


def clean_name(text: str) -> str:
    """The last part of a name that another machine chose, as a plain file name: no folders, no signs that any file system
    or shell minds, not longer than all of them take. "model" if nothing is left.
    """
    text = unicodedata.normalize("NFC", text.replace("\\", "/").rsplit("/", 1)[-1])
    text = "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
    text = _FORBIDDEN.sub("_", text).strip(". ")
    if _RESERVED.fullmatch(text):
        text = f"_{text}"
    stem, suffix = split(text)
    while len((stem + suffix).encode()) > MAX_BYTES and stem:
        stem = stem[:-1]
    return f"{stem.rstrip('. ')}{suffix}" if stem.strip(". ") else f"model{suffix}"


def given_name(text: str, field: str = "name") -> str:
    """A name that the user gave; raises InputError unless it can be used as it is."""
    text = text.strip()
    if not text or clean_name(text) != unicodedata.normalize("NFC", text):
        raise InputError(
            field, f"{field} is {short(text)}: it must be a plain file name, without folders and signs such as / : * ?."
        )
    return unicodedata.normalize("NFC", text)


def model_name(text: str, field: str = "name") -> str:
    """`text` if it has the suffix of a model; raises InputError."""
    if not text.lower().endswith(SUFFIXES):
        raise InputError(field, f"{field} is {short(text)}: a model's name ends with one of {', '.join(SUFFIXES)}.")
    return text


def inner_path(text: str) -> str:
    """The path of a file within a model folder; raises InputError if another machine's path leads elsewhere."""
    parts = PurePosixPath(text).parts
    if not parts or text.startswith("/") or any(clean_name(part) != part for part in parts):
        raise InputError(
            "file", f"The file {short(text)} has a name that cannot be used here. Download its files one by one."
        )
    return "/".join(parts)


def numbered(name: str, number: int) -> str:
    """`name` with a number before its suffix."""
    stem, suffix = split(name)
    return f"{stem}-{number}{suffix}"


def split(name: str) -> tuple[str, str]:
    """Stem and suffix; the suffix is a short one, or none."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, f".{suffix}") if dot and stem and len(suffix) <= 12 and suffix.isalnum() else (name, "")
