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


def control_lora_tensors(
    unet: Any, control: Any, rank: int = 4, seed: int = 6
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A Control-LoRA beside that U-Net in Stability AI's layout, with the parts of `control` that a U-Net lacks; and the ControlNet's weights
    that it comes to, under diffusers' names."""
    generator = torch.Generator().manual_seed(seed)
    own = dict(unet.named_parameters())
    found, whole = {"lora_controlnet": torch.zeros(0)}, {}
    for name, value in tensors_of(control).items():
        theirs = control_keys(SHAPE).to_ldm({name: value})
        base = own.get(name)
        if base is None:  # the layers that read the picture, and those that begin at 0
            found |= theirs
            whole[name] = value
        elif base.ndim == 1:
            if name.startswith("down_blocks"):  # some files have these, others leave them to the U-Net
                found |= theirs
                whole[name] = value
            else:
                whole[name] = base.detach().clone()
        else:
            (place,) = (key.removesuffix(".weight") for key in theirs)
            out, inner = base.shape[0], base.shape[1:]
            up, down = torch.randn(out, rank, generator=generator), torch.randn(rank, *inner, generator=generator)
            up = up[..., None, None] if base.ndim == 4 else up
            found |= {f"{place}.up": up * 0.1, f"{place}.down": down * 0.1}
            whole[name] = base.detach() + (up.flatten(1) * 0.1 @ (down.flatten(1) * 0.1)).reshape(base.shape)
    return found, whole


class Lite(nn.Module):
    """The network beside one layer in ControlNet-LLLite, as kohya-ss's script builds it."""

    def __init__(
        self, width: int, *, embedded: int = 8, inner: int = 6, steps: tuple[int, ...] = (4, 2), conv: bool = False
    ) -> None:
        super().__init__()
        channels = [3, *(4 for _ in steps[1:]), embedded]
        layers: list[nn.Module] = []
        for n, step in enumerate(steps):
            layers += [*([nn.ReLU()] if n else []), nn.Conv2d(channels[n], channels[n + 1], step, stride=step)]
        self.conditioning1 = nn.Sequential(*layers)

        def layer(a: int, b: int) -> nn.Module:
            return nn.Conv2d(a, b, 1) if conv else nn.Linear(a, b)

        self.down = nn.Sequential(layer(width, inner), nn.ReLU())
        self.mid = nn.Sequential(layer(inner + embedded, inner), nn.ReLU())
        self.up = nn.Sequential(layer(inner, width))
        self.conv = conv

    def forward(self, x: Tensor, hint: Tensor) -> Tensor:
        """What the layer is given instead of x."""
        seen = self.conditioning1(hint * 2 - 1)
        if not self.conv:
            seen = seen.flatten(2).transpose(1, 2)
        at = 1 if self.conv else 2
        return x + self.up(self.mid(torch.cat([seen, self.down(x)], dim=at)))


def tiny_lites(unet: Any, seed: int = 7) -> dict[str, Lite]:
    """Beside every query, key and value of the tiny U-Net's self-attention, every query of its attention to words, and one convolution:
    by the layers' names."""
    torch.manual_seed(seed)
    found = {}
    for name, module in unet.named_modules():
        if name.endswith(("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn2.to_q")):
            deep = name.startswith("mid_block")
            found[name] = stirred(Lite(module.in_features, steps=(4, 4) if deep else (4, 2)), seed)
    name = "down_blocks.0.resnets.0.conv1"
    found[name] = stirred(Lite(unet.get_submodule(name).in_channels, conv=True), seed)
    return found


def lllite_tensors(lites: dict[str, Lite], *, original: bool = True) -> dict[str, Tensor]:
    """Their file, with CompVis's names of layers or diffusers'."""
    found = {}
    for name, lite in lites.items():
        theirs = name
        if original:
            theirs = next(iter(control_keys(SHAPE).to_ldm({f"{name}.weight": torch.empty(0)}))).removesuffix(".weight")
        for key, value in lite.state_dict().items():
            found[f"lllite_unet_{theirs.replace('.', '_')}.{key}"] = value.clone()
    return found


def style_tensors(
    context: int = 64, seed: int = 8, *, width: int = 64, words: int = 4, layers: int = 2
) -> dict[str, Tensor]:
    """A T2I style adapter in the layout of its file: it reads features of `width` and gives words of `context`."""
    generator = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.2

    def norm(name: str) -> dict[str, Tensor]:
        return {f"{name}.weight": 1 + some(width), f"{name}.bias": some(width)}

    found = {
        "style_embedding": some(1, words, width),
        "proj": some(width, context),
        **norm("ln_pre"),
        **norm("ln_post"),
    }
    for n in range(layers):
        block = f"transformer_layes.{n}"
        found |= {
            f"{block}.attn.in_proj_weight": some(3 * width, width),
            f"{block}.attn.in_proj_bias": some(3 * width),
            f"{block}.attn.out_proj.weight": some(width, width),
            f"{block}.attn.out_proj.bias": some(width),
            f"{block}.mlp.c_fc.weight": some(4 * width, width),
            f"{block}.mlp.c_fc.bias": some(4 * width),
            f"{block}.mlp.c_proj.weight": some(width, 4 * width),
            f"{block}.mlp.c_proj.bias": some(width),
            **norm(f"{block}.ln_1"),
            **norm(f"{block}.ln_2"),
        }
    return found
