"""A checkpoint as a diffusers folder (unet/ or transformer/, vae/, text_encoder/ ...), read as the single file it would be.

Of Stable Diffusion 1 to XL, names of tensors become CompVis's and OpenCLIP's; of later families the network keeps diffusers'
names and text encoders transformers'. From there on it is a file like any other.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modules.core.errors import ModelFileError
from modules.families import ldm_keys, naming, open_clip_keys, sd2, sdxl
from modules.families.pieces import piece_of
from modules.families.qwen_image import TIME_ZERO
from modules.families.shards import part_files
from modules.families.source import BACKBONE, text_prefix
from modules.families.weights import read_weights, shapes_of
from modules.library.header import Header

INDEX = "model_index.json"
TEXT_PARTS = ("text_encoder", "text_encoder_2", "text_encoder_3", "text_encoder_4")

Tensors = dict[str, Tensor]
Reader = Callable[[Path], Tensors]


def is_folder(path: Path) -> bool:
    """Is this a diffusers folder?"""
    return (path / INDEX).is_file()


def read_folder(path: Path) -> Tensors:
    """The tensors under a single file's names; raises ModelFileError naming what is missing or of another kind."""
    return _Folder(path, read_weights).tensors()


def read_folder_header(path: Path) -> Header:
    """Their names and shapes, from the headers alone; raises ModelFileError."""
    found = _Folder(path, lambda file: naming.weightless(shapes_of(file).shapes)).tensors()
    return Header(shapes=naming.shapes_of(found))


def text_kinds(path: Path) -> dict[str, str]:
    """The kind of each text encoder in the folder, by the name of its part; raises ModelFileError."""
    folder = _Folder(path, lambda file: naming.weightless(shapes_of(file).shapes))
    return {part: folder.kind(part, folder.part(part)) for part in TEXT_PARTS if (path / part).is_dir()}


class _Folder:
    """One folder, whose files are read by `read`."""

    def __init__(self, path: Path, read: Reader) -> None:
        self._path = path
        self._read = read

    def tensors(self) -> Tensors:
        """All of it."""
        if (self._path / "unet").is_dir() or not (self._path / "transformer").is_dir():
            return self._stable_diffusion()
        found = naming.prefixed(BACKBONE, self.part("transformer"))
        if self._config("transformer").get("zero_cond_t"):  # of Qwen-Image Edit 2511, which ComfyUI's files mark so
            found[f"{BACKBONE}{TIME_ZERO}"] = torch.zeros(0)
        if (self._path / "vae").is_dir():
            found |= naming.prefixed(ldm_keys.VAE, naming.vae_named(self.part("vae")))
        for name in TEXT_PARTS:
            if (self._path / name).is_dir():
                tensors = self.part(name)
                kind = self.kind(name, tensors)
                found |= naming.part_named(kind, tensors, text_prefix(kind))
        return found

    def part(self, name: str) -> Tensors:
        """The tensors of one part, of all its files."""
        found: Tensors = {}
        for file, names in part_files(self._path, name):
            tensors = self._read(file)
            if lost := next((key for key in names if key not in tensors), None):
                raise ModelFileError(
                    f'"{self._path.name}/{name}/{file.name}" lacks the weights {lost}. Download it again.'
                )
            found |= tensors
        return found

    def kind(self, name: str, tensors: Mapping[str, Tensor]) -> str:
        """The kind of a text encoder."""
        piece = piece_of(naming.shapes_of(tensors), self._class(name))
        if not piece:
            raise ModelFileError(
                f'"{self._path.name}/{name}" holds a text encoder that is not known here. Choose another model.'
            )
        return piece.kind

    def _class(self, name: str) -> str:
        """Of CLIP, the kind that a second text encoder has; else nothing."""
        return {"text_encoder": "clip_l", "text_encoder_2": "clip_g t5xxl", "text_encoder_3": "t5xxl"}.get(name, "")

    def _stable_diffusion(self) -> Tensors:
        unet = naming.prefixed(BACKBONE, naming.network_named(self.part("unet")))
        vae = naming.prefixed(ldm_keys.VAE, naming.vae_named(self.part("vae")))
        return {**unet, **vae, **self._texts(unet)}

    def _texts(self, unet: Tensors) -> Tensors:
        """The text encoders: two for SDXL, bigG alone for its refiner, CLIP L or OpenCLIP H by the U-Net's context width."""
        if (self._path / "text_encoder_2").is_dir():
            big_g = self.part("text_encoder_2")
            if not (self._path / "text_encoder").is_dir():
                return naming.part_named("clip_g", big_g, sdxl.REFINER_BIG_G)
            text = naming.part_named("clip_l", self.part("text_encoder"), sdxl.CLIP_L)
            return text | naming.part_named("clip_g", big_g, sdxl.BIG_G)
        text = naming.part_named("clip_l", self.part("text_encoder"), "text_model.")
        bare = {name.removeprefix("text_model."): tensor for name, tensor in text.items()}
        if self._config("text_encoder").get("hidden_act") == "gelu":
            return naming.prefixed(sd2.TEXT, open_clip_keys.to_open_clip(bare))
        width = next((t.shape[1] for name, t in unet.items() if name.endswith("attn2.to_k.weight")), 0)
        own = bare["embeddings.token_embedding.weight"].shape[1] if "embeddings.token_embedding.weight" in bare else 0
        if own != width:
            raise ModelFileError(
                f'The text encoder in "{self._path.name}" is {own} wide, its U-Net wants {width}. Get it whole.'
            )
        return naming.prefixed(ldm_keys.TEXT, bare)

    def _config(self, part: str) -> dict[str, Any]:
        try:
            found = json.loads((self._path / part / "config.json").read_text("utf-8"))
            return found if isinstance(found, dict) else {}
        except (OSError, ValueError, RecursionError) as error:
            raise ModelFileError(
                f'"{self._path.name}/{part}/config.json" cannot be read. Download the model folder whole.'
            ) from error
