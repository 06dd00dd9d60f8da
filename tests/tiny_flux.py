"""A tiny FLUX.1 and a tiny Chroma, under diffusers' names and under the original ones."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.transformers.transformer_chroma import ChromaTransformer2DModel
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from torch import Tensor

from tests.tiny_modern import CLIP_WIDTH, clip_tensors, restless, tensors_of, tiny_clip, tiny_vae, vae_tensors
from tests.tiny_t5 import t5_tensors, tiny_t5

SIZES = {
    "out_channels": 64,
    "num_layers": 2,
    "num_single_layers": 2,
    "attention_head_dim": 32,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "axes_dims_rope": (4, 14, 14),
}
PAIRS = {
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "txt_in": "context_embedder",
    "img_in": "x_embedder",
    "final_layer.linear": "proj_out",
    "distilled_guidance_layer.in_proj": "distilled_guidance_layer.in_proj",
    "distilled_guidance_layer.out_proj": "distilled_guidance_layer.out_proj",
}
STREAMS = (
    ("img", "", "to_{}", "to_out.0", "norm_{}"),
    ("txt", "_context", "add_{}_proj", "to_add_out", "norm_added_{}"),
)


def tiny_flux(seed: int = 0, *, in_channels: int = 64, guidance: bool = True) -> Any:
    """diffusers' transformer."""
    config: dict[str, Any] = {**SIZES, "pooled_projection_dim": CLIP_WIDTH, "guidance_embeds": guidance}
    return restless(FluxTransformer2DModel(in_channels=in_channels, **config), seed)


def tiny_chroma(seed: int = 0) -> Any:
    """diffusers' transformer."""
    sizes: dict[str, Any] = {
        **SIZES,
        "approximator_num_channels": 16,
        "approximator_hidden_dim": 48,
        "approximator_layers": 2,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers' own use of a class that it moved
        network = ChromaTransformer2DModel(in_channels=64, **sizes)
    return restless(network, seed)


def original(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's tensors under diffusers' names as its authors' files have them."""
    found: dict[str, Tensor] = {}

    def take(name: str, *theirs: str, swapped: bool = False, scale: bool = False) -> None:
        for kind in ("weight", "bias"):
            parts = [tensors[f"{own}.{kind}"] for own in theirs if f"{own}.{kind}" in tensors]
            if parts:
                whole = torch.cat([*parts[0].chunk(2)[::-1]] if swapped else parts)
                found[f"{name}.{'scale' if scale else kind}"] = whole

    for name, theirs in PAIRS.items():
        take(name, theirs)
    take("final_layer.adaLN_modulation.1", "norm_out.linear", swapped=True)
    for i in range(2):
        own = f"transformer_blocks.{i}"
        for stream, suffix, projection, out, norm in STREAMS:
            name = f"double_blocks.{i}.{stream}"
            take(f"{name}_mod.lin", f"{own}.norm1{suffix}.linear")
            take(f"{name}_attn.qkv", *(f"{own}.attn.{projection.format(letter)}" for letter in "qkv"))
            take(f"{name}_attn.norm.query_norm", f"{own}.attn.{norm.format('q')}", scale=True)
            take(f"{name}_attn.norm.key_norm", f"{own}.attn.{norm.format('k')}", scale=True)
            take(f"{name}_attn.proj", f"{own}.attn.{out}")
            take(f"{name}_mlp.0", f"{own}.ff{suffix}.net.0.proj")
            take(f"{name}_mlp.2", f"{own}.ff{suffix}.net.2")
        own, name = f"single_transformer_blocks.{i}", f"single_blocks.{i}"
        take(f"{name}.linear1", *(f"{own}.attn.to_{letter}" for letter in "qkv"), f"{own}.proj_mlp")
        take(f"{name}.linear2", f"{own}.proj_out")
        take(f"{name}.modulation.lin", f"{own}.norm.linear")
        take(f"{name}.norm.query_norm", f"{own}.attn.norm_q", scale=True)
        take(f"{name}.norm.key_norm", f"{own}.attn.norm_k", scale=True)
        own = f"distilled_guidance_layer.layers.{i}"
        take(f"{own}.in_layer", f"{own}.linear_1")
        take(f"{own}.out_layer", f"{own}.linear_2")
        take(f"distilled_guidance_layer.norms.{i}", f"distilled_guidance_layer.norms.{i}", scale=True)
    return found


def flux_parts() -> dict[str, Tensor]:
    """What a FLUX.1 checkpoint holds beside its network."""
    t5 = {f"text_encoders.t5xxl.transformer.{name}": tensor for name, tensor in t5_tensors(tiny_t5()).items()}
    return {**vae_tensors(tiny_vae()), **clip_tensors(tiny_clip(), "clip_l"), **t5}


def whole_flux(**options: Any) -> dict[str, Tensor]:
    """A checkpoint in the layout of ComfyUI's all-in-one files."""
    network = original(tensors_of(tiny_flux(**options)))
    return {**{f"model.diffusion_model.{name}": tensor for name, tensor in network.items()}, **flux_parts()}
