"""A checkpoint as a diffusers folder (unet/, vae/, text_encoder/ ...), read as the single file it would be.

Names of tensors become CompVis's and OpenCLIP's; from there on it is a file like any other.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from modules.core.errors import ModelFileError
from modules.families import ldm_keys, open_clip_keys, sd2, sdxl
from modules.families.weights import read_weights

INDEX = "model_index.json"
_NAMES = ("diffusion_pytorch_model", "model")
_VARIANTS = ("", ".fp16", ".non_ema")


def is_folder(path: Path) -> bool:
    """Is this a diffusers folder?"""
    return (path / INDEX).is_file()


def read_folder(path: Path) -> dict[str, Tensor]:
    """The tensors under a single file's names; raises ModelFileError naming what is missing or of another kind."""
    unet = _part(path, "unet")
    attention = _attention(unet)
    blocks = 1 + max(int(m[1]) for name in unet if (m := re.match(r"down_blocks\.0\.resnets\.(\d+)\.", name)))
    shape = ldm_keys.UNetShape(levels=len(attention), blocks=blocks, attention=attention)
    renamed = {name.replace("add_embedding.", "class_embedding."): tensor for name, tensor in unet.items()}
    found = _prefixed(ldm_keys.UNET, _converted(path, "unet", ldm_keys.unet_keys(shape), renamed))
    found |= _prefixed(ldm_keys.VAE, _vae(path))
    return found | _texts(path, width=_context(unet))


def _texts(path: Path, *, width: int) -> dict[str, Tensor]:
    """The text encoders: two for SDXL, bigG alone for its refiner, CLIP L or OpenCLIP H by the U-Net's context width."""
    if (path / "text_encoder_2").is_dir():
        big_g = _open_clip(_part(path, "text_encoder_2"))
        if not (path / "text_encoder").is_dir():
            return _prefixed(sdxl.REFINER_BIG_G, big_g)
        return _prefixed(sdxl.CLIP_L, _text(path)) | _prefixed(sdxl.BIG_G, big_g)
    if _config(path, "text_encoder").get("hidden_act") == "gelu":
        return _prefixed(sd2.TEXT, open_clip_keys.to_open_clip(_text(path)))
    text = _text(path)
    if (own := text["embeddings.token_embedding.weight"].shape[1]) != width:
        raise ModelFileError(f'The text encoder in "{path.name}" is {own} wide, its U-Net wants {width}. Get it whole.')
    return _prefixed(ldm_keys.TEXT, text)


def _text(path: Path) -> dict[str, Tensor]:
    tensors = {name.removeprefix("text_model."): value for name, value in _part(path, "text_encoder").items()}
    return {name: value for name, value in tensors.items() if not name.endswith("position_ids")}


def _open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    bare = {name.removeprefix("text_model."): value for name, value in tensors.items()}
    return {**open_clip_keys.to_open_clip(bare), "text_projection": bare["text_projection.weight"].T.contiguous()}


def _vae(path: Path) -> dict[str, Tensor]:
    tensors = _part(path, "vae")
    pattern = r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\."
    places = [(int(m[1]), int(m[2])) for name in tensors if (m := re.match(pattern, name))]
    shape = ldm_keys.VaeShape(levels=1 + max(p[0] for p in places), blocks=1 + max(p[1] for p in places))
    return _converted(path, "vae", ldm_keys.vae_keys(shape), _new_attention(tensors))


def _new_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Attention of old diffusers autoencoders (query, key, value, proj_attn) under today's names."""
    old = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    pattern = re.compile(r"(attentions\.0)\.(query|key|value|proj_attn)\.")
    return {pattern.sub(lambda m: f"{m[1]}.{old[m[2]]}.", name): tensor for name, tensor in tensors.items()}


def _attention(unet: Mapping[str, Tensor]) -> tuple[bool, ...]:
    levels = 1 + max((int(m[1]) for name in unet if (m := re.match(r"down_blocks\.(\d+)\.", name))), default=-1)
    return tuple(any(name.startswith(f"down_blocks.{i}.attentions.0.norm.") for name in unet) for i in range(levels))


def _context(unet: Mapping[str, Tensor]) -> int:
    return next(tensor.shape[1] for name, tensor in unet.items() if name.endswith("attn2.to_k.weight"))


def _converted(path: Path, part: str, keys: ldm_keys.KeyMap, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    try:
        return keys.to_ldm(tensors)
    except KeyError as error:
        raise ModelFileError(
            f'"{path.name}/{part}" has the weights {error.args[0]}, which no Stable Diffusion has. Choose another model.'
        ) from error


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _part(path: Path, part: str) -> dict[str, Tensor]:
    """The tensors of one part, from safetensors if there are any, else from .bin."""
    for suffix in (".safetensors", ".bin"):
        for name in _NAMES if suffix == ".safetensors" else (*_NAMES, "pytorch_model"):
            for variant in _VARIANTS:
                file = path / part / f"{name}{variant}{suffix}"
                if file.is_file():
                    return read_weights(file)
    raise ModelFileError(f'"{path.name}" has no weights in {part}/. Download the model folder whole.')


def _config(path: Path, part: str) -> dict[str, Any]:
    try:
        return json.loads((path / part / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f'"{path.name}/{part}/config.json" cannot be read. Download the model folder whole.'
        ) from error
