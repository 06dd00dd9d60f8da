"""Tiny ControlNets beside the transformers of tests/tiny_sd3.py, tiny_flux.py and families/: seeded random weights in true layouts."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.controlnets.controlnet_flux import FluxControlNetModel
from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel
from diffusers.models.controlnets.controlnet_sd3 import SD3ControlNetModel
from diffusers.models.controlnets.controlnet_z_image import ZImageControlNetModel
from torch import Tensor

from modules.families.source import TEXTS
from tests.families import test_qwen_image
from tests.families.tiny_language import checkpoint, named, seeded
from tests.tiny_flux import SIZES, original
from tests.tiny_modern import CLIP_WIDTH, restless, tensors_of
from tests.tiny_sd3 import WIDTH


def sd3_control(seed: int = 3, *, large: bool = False, inpaint: bool = False) -> Any:
    """InstantX's, alimama's for inpainting, or Stability's for 3.5 large."""
    config: dict[str, Any] = {
        "sample_size": 8,
        "num_layers": 2,
        "num_attention_heads": 2,
        "joint_attention_dim": None if large else WIDTH,
        "caption_projection_dim": 128,
        "pooled_projection_dim": 2 * CLIP_WIDTH,
        "pos_embed_max_size": 8,
        "extra_conditioning_channels": int(inpaint),
        "use_pos_embed": not large,
    }
    return restless(SD3ControlNetModel(**config), seed, 0.05)


def sd3_control_named(module: Any) -> dict[str, Tensor]:
    """Its tensors under diffusers' names, the table of places among them."""
    found = tensors_of(module)
    return {**found, "pos_embed.pos_embed": module.pos_embed.pos_embed.clone()} if module.pos_embed else found


def stability(tensors: Mapping[str, Tensor], kind: int) -> dict[str, Tensor]:
    """Those of a large one as Stability's files have them."""
    renamed = {
        "attn.to_out.0": "attn.proj",
        "norm1.linear": "adaLN_modulation.1",
        "ff.net.0.proj": "mlp.fc1",
        "ff.net.2": "mlp.fc2",
    }
    found: dict[str, Tensor] = {"control_type": torch.tensor(kind)}
    for name, tensor in tensors.items():
        if ".attn.to_q." in name:
            parts = [tensors[name.replace("to_q", other)] for other in ("to_q", "to_k", "to_v")]
            found[name.replace("to_q", "qkv")] = torch.cat(parts)
        elif not any(f".attn.{other}." in name for other in ("to_k", "to_v")):
            for ours, theirs in renamed.items():
                name = name.replace(f".{ours}.", f".{theirs}.")
            found[name] = tensor
    return found


def flux_control(seed: int = 3, *, modes: int | None = None, xlabs: bool = False, singles: int = 1) -> Any:
    """InstantX's or Shakker's, a union of so many kinds, or XLabs'."""
    config: dict[str, Any] = {
        **{name: value for name, value in SIZES.items() if name != "out_channels"},
        "axes_dims_rope": list(SIZES["axes_dims_rope"]),
        "in_channels": 64,
        "patch_size": 2 if xlabs else 1,
        "num_layers": 1,
        "num_single_layers": 0 if xlabs else singles,
        "pooled_projection_dim": CLIP_WIDTH,
        "guidance_embeds": True,
        "num_mode": modes,
        "conditioning_embedding_channels": 16 if xlabs else None,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers' own use of a class that it moved
        return restless(FluxControlNetModel(**config), seed, 0.05)


def xlabs(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of one of XLabs' as their files have them."""
    found = original(tensors)
    hint = ["conv_in", *(f"blocks.{n}" for n in range(6)), "conv_out"]
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        if layer == "controlnet_x_embedder":
            found[f"pos_embed_input.{kind}"] = tensor
        elif layer.startswith("controlnet_"):
            found[name] = tensor
        elif layer.startswith("input_hint_block."):
            found[f"input_hint_block.{2 * hint.index(layer.removeprefix('input_hint_block.'))}.{kind}"] = tensor
    return found


def qwen_control(seed: int = 3, *, inpaint: bool = False) -> Any:
    """InstantX's Union, or its network for inpainting."""
    config: dict[str, Any] = {
        "num_layers": 1,
        "num_attention_heads": 1,
        "joint_attention_dim": 256,
        "extra_condition_channels": 4 if inpaint else 0,
    }
    return seeded(QwenImageControlNetModel(**config), seed, 0.2)


def z_image_control(version: str, seed: int = 3) -> Any:
    """One of version "1", "2.0" or "2.1"; of two layers of a transformer each has one."""
    config: dict[str, Any] = {
        "control_layers_places": [0, 1],
        "control_refiner_layers_places": [0],
        "control_in_dim": 16 if version == "1" else 33,
        "add_control_noise_refiner": {"1": None, "2.0": "control_layers", "2.1": "control_noise_refiner"}[version],
        "dim": 256,
        "n_refiner_layers": 1,
        "n_heads": 2,
        "n_kv_heads": 2,
    }
    return seeded(ZImageControlNetModel(**config), seed)


def lively_qwen(folder: Path) -> test_qwen_image.Tiny:
    """A tiny Qwen-Image whose pictures show what its network does: its last layer is louder, its autoencoder has more contrast."""
    tiny = test_qwen_image.Tiny(folder)
    tiny.vae = seeded(AutoencoderKLQwenImage(base_dim=8, num_res_blocks=2), 4, 0.25)
    with torch.no_grad():
        tiny.network.proj_out.weight *= 6
    text = {name: value for name, value in tiny.tensors.items() if name.startswith(TEXTS)}
    tiny.tensors = {**checkpoint(named(tiny.network), test_qwen_image.wan(named(tiny.vae))), **text}
    return tiny
