"""Tiny control networks of seeded random weights beside the U-Net of tests/tiny.py, in the layouts of the files people download."""

import re
from pathlib import Path
from typing import Any

import torch
from diffusers.models.adapter import T2IAdapter
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

from modules.control.control_keys import control_keys
from modules.families.ldm_keys import UNetShape

TINY: dict[str, Any] = {
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "attention_head_dim": 8,
    "cross_attention_dim": 64,
    "conditioning_embedding_out_channels": (8, 8, 16, 16),
}
SHAPE = UNetShape(levels=2, blocks=1, attention=(True, False))


def stirred(module: nn.Module, seed: int = 0, by: float = 0.05) -> nn.Module:
    """The module with every weight moved at random, those that begin at 0 too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    return module.eval().requires_grad_(False)


def tiny_controlnet(seed: int = 1, **config: Any) -> Any:
    """diffusers' own module."""
    torch.manual_seed(seed)
    return stirred(ControlNetModel(**{**TINY, **config}), seed)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Its weights under its own names."""
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def write_controlnet(path: Path, module: Any, layout: str = "diffusers") -> Path:
    """The file; `layout` is "diffusers", "ldm", or "bare" for ldm's without a prefix. A suffix of .pth makes a pickle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = tensors_of(module)
    if layout != "diffusers":
        prefix = "control_model." if layout == "ldm" else ""
        tensors = {prefix + name: value for name, value in control_keys(SHAPE).to_ldm(tensors).items()}
    if path.suffix == ".pth":
        torch.save({"state_dict": tensors}, path)
    else:
        save_file(tensors, path)
    return path


def tiny_adapter(seed: int = 2, kind: str = "full_adapter", **config: Any) -> Any:
    """diffusers' T2I-Adapter beside the tiny U-Net."""
    torch.manual_seed(seed)
    given = {"in_channels": 3, "channels": [32, 64], "num_res_blocks": 2, "downscale_factor": 8, **config}
    return stirred(T2IAdapter(adapter_type=kind, **given), seed)


def tiny_union(seed: int = 3, **config: Any) -> Any:
    """diffusers' ControlNet Union beside a tiny U-Net that takes a vector of 64."""
    torch.manual_seed(seed)
    given = {
        **TINY,
        "block_out_channels": (64, 64),
        "use_linear_projection": True,
        "attention_head_dim": (1, 1),
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 64,
        "addition_time_embed_dim": 8,
        "num_trans_channel": 64,
        "num_trans_head": 1,
        "num_proj_channel": 64,
        **config,
    }
    return stirred(ControlNetUnionModel(**given), seed)


def ip_adapter_tensors(unet: Any, seed: int = 4, *, embedded: int = 64, plus: bool = False) -> dict[str, Tensor]:
    """A tiny IP-Adapter for that U-Net under the names of the files people download."""
    generator = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.2

    width = unet.config.cross_attention_dim
    found: dict[str, Tensor] = {}
    if plus:
        module = stirred(
            IPAdapterPlusImageProjection(embedded, width, hidden_dims=64, depth=4, dim_head=64, heads=1, num_queries=4),
            seed,
        )
        for name, value in module.state_dict().items():
            found[f"image_proj.{plus_name(name)}"] = value.clone()
        keys = [name for name in found if name.endswith(".to_k.weight")]
        for name in keys:
            other = name.replace("to_k", "to_v")
            found[name.replace("to_k", "to_kv")] = torch.cat([found.pop(name), found.pop(other)])
    else:
        found |= {"image_proj.proj.weight": some(4 * width, embedded), "image_proj.proj.bias": some(4 * width)}
        found |= {"image_proj.norm.weight": 1 + some(width), "image_proj.norm.bias": some(width)}
    for number, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            inner = unet.get_submodule(name.removesuffix(".processor")).to_q.out_features
            found[f"ip_adapter.{number}.to_k_ip.weight"] = some(inner, width)
            found[f"ip_adapter.{number}.to_v_ip.weight"] = some(inner, width)
    return found


def plus_name(name: str) -> str:
    """A tensor's name in the files of IP-Adapter plus, for diffusers'."""
    for ours, theirs in (
        *((r"\.ln0", ".0.norm1"), (r"\.ln1", ".0.norm2"), (r"\.attn\.", ".0."), (r"\.ff\.0\.", ".1.0.")),
        *((r"\.ff\.1\.net\.0\.proj", ".1.1"), (r"\.ff\.1\.net\.2", ".1.3"), (r"to_out\.0", "to_out")),
    ):
        name = re.sub(ours, theirs, name)
    return name


def tiny_vision(seed: int = 5, width: int = 64, projection: int = 64) -> Any:
    """A tiny CLIP vision network."""
    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=64,
        projection_dim=projection,
        num_hidden_layers=2,
        num_attention_heads=1,
        image_size=32,
        patch_size=8,
        hidden_act="quick_gelu",
    )
    return stirred(CLIPVisionModelWithProjection(config), seed)
