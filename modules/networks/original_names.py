"""The names that networks' modules have in other files than diffusers': for each, diffusers' modules that hold its rows, in order."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from modules.families import flux_keys
from modules.families.ldm_keys import UNetShape, unet_keys

Places = Mapping[str, tuple[str, ...]]

_QKV = ("to_q", "to_k", "to_v")
_ADDED = ("add_q_proj", "add_k_proj", "add_v_proj")


def original_places(family: str, backbone: Any) -> Places:
    """Those of a loaded network of that family."""
    make = _MAKERS.get(family)
    return make(backbone) if make else {}


def _unet(unet: Any) -> Places:
    """CompVis's names, which trainers of XL write."""
    config = unet.config
    attention = tuple(kind.startswith("Cross") for kind in config.down_block_types)
    keys = unet_keys(UNetShape(levels=len(attention), blocks=config.layers_per_block, attention=attention))
    found = {}
    for name, module in unet.named_modules():
        if isinstance(getattr(module, "weight", None), torch.Tensor):
            (theirs,) = keys.to_ldm({f"{name}.weight": torch.empty(0)})
            found[theirs.removesuffix(".weight")] = (name,)
    return found


def _flux(backbone: Any) -> Places:
    guide = getattr(getattr(backbone, "distilled_guidance_layer", None), "layers", ())
    return flux_keys.diffusers_places(
        len(backbone.transformer_blocks), len(backbone.single_transformer_blocks), len(guide)
    )


def _sd3(backbone: Any) -> Places:
    """Stability's names. The last block's modulation of the text is left out, whose halves change places."""
    found: dict[str, tuple[str, ...]] = {
        "x_embedder.proj": ("pos_embed.proj",),
        "context_embedder": ("context_embedder",),
        "t_embedder.mlp.0": ("time_text_embed.timestep_embedder.linear_1",),
        "t_embedder.mlp.2": ("time_text_embed.timestep_embedder.linear_2",),
        "y_embedder.mlp.0": ("time_text_embed.text_embedder.linear_1",),
        "y_embedder.mlp.2": ("time_text_embed.text_embedder.linear_2",),
        "final_layer.linear": ("proj_out",),
    }
    last = len(backbone.transformer_blocks) - 1
    for number in range(last + 1):
        layers = {
            "x_block.attn.qkv": tuple(f"attn.{q}" for q in _QKV),
            "x_block.attn2.qkv": tuple(f"attn2.{q}" for q in _QKV),
            "context_block.attn.qkv": tuple(f"attn.{q}" for q in _ADDED),
            "x_block.attn.proj": ("attn.to_out.0",),
            "x_block.attn2.proj": ("attn2.to_out.0",),
            "context_block.attn.proj": ("attn.to_add_out",),
            "x_block.mlp.fc1": ("ff.net.0.proj",),
            "x_block.mlp.fc2": ("ff.net.2",),
            "context_block.mlp.fc1": ("ff_context.net.0.proj",),
            "context_block.mlp.fc2": ("ff_context.net.2",),
            "x_block.adaLN_modulation.1": ("norm1.linear",),
            **({"context_block.adaLN_modulation.1": ("norm1_context.linear",)} if number < last else {}),
        }
        for name, inner in layers.items():
            found[f"joint_blocks.{number}.{name}"] = tuple(f"transformer_blocks.{number}.{layer}" for layer in inner)
    return found


def _z_image(backbone: Any) -> Places:
    found: dict[str, tuple[str, ...]] = {}
    for name, _ in backbone.named_modules():
        if name.rpartition(".")[2] == "attention":
            found[f"{name}.qkv"] = tuple(f"{name}.{q}" for q in _QKV)
            found[f"{name}.out"] = (f"{name}.to_out.0",)
            found[f"{name}.q_norm"], found[f"{name}.k_norm"] = (f"{name}.norm_q",), (f"{name}.norm_k",)
    found["x_embedder"], found["final_layer.linear"] = ("all_x_embedder.2-1",), ("all_final_layer.2-1.linear",)
    return found


_MAKERS: Mapping[str, Callable[[Any], Places]] = {
    **dict.fromkeys(("sd1", "sd2", "sdxl", "sdxl-refiner"), _unet),
    **dict.fromkeys(("flux", "chroma"), _flux),
    "sd3": _sd3,
    "z-image": _z_image,
}
