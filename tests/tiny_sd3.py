"""A tiny Stable Diffusion 3 and a tiny AuraFlow, under diffusers' names and under the original ones."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.transformers.auraflow_transformer_2d import AuraFlowTransformer2DModel
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from torch import Tensor

from tests.tiny_modern import CLIP_WIDTH, clip_tensors, restless, tensors_of, tiny_clip, tiny_vae, vae_tensors
from tests.tiny_t5 import t5_tensors, tiny_t5

WIDTH = 160  # of what both CLIPs, side by side, and T5 tell
AURA = {"w2q": "to_q", "w2k": "to_k", "w2v": "to_v", "w2o": "to_out.0"}
AURA_TEXT = {"w1q": "add_q_proj", "w1k": "add_k_proj", "w1v": "add_v_proj", "w1o": "to_add_out"}
AURA_FORWARD = {"c_fc1": "linear_1", "c_fc2": "linear_2", "c_proj": "out_projection"}


def tiny_sd3(seed: int = 0, *, second: tuple[int, ...] = (), normed: bool = False, places: int = 8) -> Any:
    """diffusers' transformer; `second`: blocks with a second attention, as 3.5 medium's."""
    config: dict[str, Any] = {
        "sample_size": 8,
        "num_layers": 3,
        "num_attention_heads": 2,
        "joint_attention_dim": WIDTH,
        "caption_projection_dim": 128,
        "pooled_projection_dim": 2 * CLIP_WIDTH,
        "pos_embed_max_size": places,
        "dual_attention_layers": second,
        "qk_norm": "rms_norm" if normed else None,
    }
    network = restless(SD3Transformer2DModel(**config), seed, 0.05)
    network.pos_embed.pos_embed = torch.randn(1, places**2, 128, generator=torch.Generator().manual_seed(seed))
    return network


def sd3_named(network: Any) -> dict[str, Tensor]:
    """Its tensors under diffusers' names."""
    return {**tensors_of(network), "pos_embed.pos_embed": network.pos_embed.pos_embed}


def sd3_original(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As its authors' files have them."""
    found: dict[str, Tensor] = {"pos_embed": tensors["pos_embed.pos_embed"]}

    def take(name: str, *theirs: str, swapped: bool = False) -> None:
        for kind in ("weight", "bias"):
            parts = [tensors[f"{own}.{kind}"] for own in theirs if f"{own}.{kind}" in tensors]
            if parts:
                found[f"{name}.{kind}"] = torch.cat([*parts[0].chunk(2)[::-1]] if swapped else parts)

    take("x_embedder.proj", "pos_embed.proj")
    take("context_embedder", "context_embedder")
    for name, theirs in (("t_embedder", "timestep_embedder"), ("y_embedder", "text_embedder")):
        take(f"{name}.mlp.0", f"time_text_embed.{theirs}.linear_1")
        take(f"{name}.mlp.2", f"time_text_embed.{theirs}.linear_2")
    take("final_layer.linear", "proj_out")
    take("final_layer.adaLN_modulation.1", "norm_out.linear", swapped=True)
    for i in range(3):
        own, name = f"transformer_blocks.{i}", f"joint_blocks.{i}"
        for block, suffix, projection, out, norm in (
            ("x_block", "", "to_{}", "to_out.0", "norm_{}"),
            ("context_block", "_context", "add_{}_proj", "to_add_out", "norm_added_{}"),
        ):
            take(f"{name}.{block}.attn.qkv", *(f"{own}.attn.{projection.format(letter)}" for letter in "qkv"))
            take(f"{name}.{block}.attn.proj", f"{own}.attn.{out}")
            take(f"{name}.{block}.attn.ln_q", f"{own}.attn.{norm.format('q')}")
            take(f"{name}.{block}.attn.ln_k", f"{own}.attn.{norm.format('k')}")
            last = block == "context_block" and i == 2
            take(f"{name}.{block}.adaLN_modulation.1", f"{own}.norm1{suffix}.linear", swapped=last)
            take(f"{name}.{block}.mlp.fc1", f"{own}.ff{suffix}.net.0.proj")
            take(f"{name}.{block}.mlp.fc2", f"{own}.ff{suffix}.net.2")
        take(f"{name}.x_block.attn2.qkv", *(f"{own}.attn2.to_{letter}" for letter in "qkv"))
        take(f"{name}.x_block.attn2.proj", f"{own}.attn2.to_out.0")
        take(f"{name}.x_block.attn2.ln_q", f"{own}.attn2.norm_q")
        take(f"{name}.x_block.attn2.ln_k", f"{own}.attn2.norm_k")
    return found


def sd3_parts(*, t5: bool = True) -> dict[str, Tensor]:
    """What an SD 3 checkpoint holds beside its network."""
    found = {**vae_tensors(tiny_vae()), **clip_tensors(tiny_clip(), "clip_l")}
    found.update(clip_tensors(tiny_clip(1, big=True, projected=True), "clip_g"))
    read = t5_tensors(tiny_t5(width=WIDTH)) if t5 else {}
    return {**found, **{f"text_encoders.t5xxl.transformer.{name}": tensor for name, tensor in read.items()}}


def tiny_aura(seed: int = 0, *, places: int = 64) -> Any:
    """diffusers' transformer."""
    config: dict[str, Any] = {
        "num_mmdit_layers": 1,
        "num_single_dit_layers": 1,
        "num_attention_heads": 1,
        "joint_attention_dim": 32,
        "caption_projection_dim": 256,
        "pos_embed_max_size": places,
        "sample_size": 8,
    }
    return restless(AuraFlowTransformer2DModel(**config), seed, 0.05)


def aura_original(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As its authors' files have them."""
    pairs = {
        "register_tokens": "register_tokens",
        "positional_encoding": "pos_embed.pos_embed",
        "init_x_linear.weight": "pos_embed.proj.weight",
        "init_x_linear.bias": "pos_embed.proj.bias",
        "cond_seq_linear.weight": "context_embedder.weight",
        "final_linear.weight": "proj_out.weight",
        **{f"t_embedder.mlp.0.{kind}": f"time_step_proj.linear_1.{kind}" for kind in ("weight", "bias")},
        **{f"t_embedder.mlp.2.{kind}": f"time_step_proj.linear_2.{kind}" for kind in ("weight", "bias")},
        "double_layers.0.modX.1.weight": "joint_transformer_blocks.0.norm1.linear.weight",
        "double_layers.0.modC.1.weight": "joint_transformer_blocks.0.norm1_context.linear.weight",
        "single_layers.0.modCX.1.weight": "single_transformer_blocks.0.norm1.linear.weight",
    }
    for old, new in (AURA | AURA_TEXT).items():
        pairs[f"double_layers.0.attn.{old}.weight"] = f"joint_transformer_blocks.0.attn.{new}.weight"
    for old, new in AURA.items():
        pairs[f"single_layers.0.attn.{old.replace('2', '1')}.weight"] = f"single_transformer_blocks.0.attn.{new}.weight"
    for old, new in AURA_FORWARD.items():
        pairs[f"double_layers.0.mlpX.{old}.weight"] = f"joint_transformer_blocks.0.ff.{new}.weight"
        pairs[f"double_layers.0.mlpC.{old}.weight"] = f"joint_transformer_blocks.0.ff_context.{new}.weight"
        pairs[f"single_layers.0.mlp.{old}.weight"] = f"single_transformer_blocks.0.ff.{new}.weight"
    found = {name: tensors[theirs] for name, theirs in pairs.items()}
    found["modF.1.weight"] = torch.cat([*tensors["norm_out.linear.weight"].chunk(2)[::-1]])
    return found


def aura_parts() -> dict[str, Tensor]:
    """What an AuraFlow checkpoint holds beside its network."""
    t5 = t5_tensors(tiny_t5(pile=True))
    return {
        **vae_tensors(tiny_vae(channels=4)),
        **{f"text_encoders.pile_t5xl.transformer.{name}": tensor for name, tensor in t5.items()},
    }
