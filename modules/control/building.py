"""Control networks built of their tensors, whichever layout they are in."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modules.control.compiled import CompiledControlNet, Eye
from modules.control.control_keys import HINT, PREFIX, control_keys, to_ldm
from modules.control.networks import ControlNet, T2IAdapter
from modules.control.union import Union
from modules.core.errors import ModelFileError
from modules.devices.choice import Compute
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.compiled import compiled_or_plain
from modules.families.ldm_keys import unet_shape
from modules.families.source import Tell, untold, without_prefix
from modules.families.unet import encoder_config

UNION_HEAD = 40
"""Channels of a head of the layers that weigh controls against each other."""

UNION_PARTS = ("task_embedding", "control_add_embedding.", "transformer_layes.", "spatial_ch_projs.")

SHUFFLE = "shuffle"
"""In the names of files whose residuals are pooled: their tensors do not tell."""


def build_controlnet(tensors: Mapping[str, Tensor], compute: Compute, file: Path, tell: Tell = untold) -> ControlNet:
    """A ControlNet of either layout, compiled where its compute says so; raises ModelFileError naming the first tensor that does not fit."""
    from diffusers.models.controlnets.controlnet import ControlNetModel

    named = ldm_named(tensors)
    weights = control_keys(unet_shape(named)).to_module(named)
    module = _built(ControlNetModel, control_config(named), weights, compute, tell)
    return ControlNet(module, pools=SHUFFLE in file.stem.casefold() or SHUFFLE in file.parent.name.casefold())


def _built(
    kind: Callable[..., Any], config: Mapping[str, Any], weights: Mapping[str, Tensor], compute: Compute, tell: Tell
) -> Any:
    """diffusers' module of that kind, or what it is compiled to."""

    def build(dtype: torch.dtype) -> Any:
        with empty_weights():
            module = kind(**config)
        return filled(module, weights, compute.home, dtype)

    def plain() -> Any:
        module: Any = build(compute.dtype)
        module.controlnet_cond_embedding = Eye(module.controlnet_cond_embedding)
        return module

    return compiled_or_plain(
        compute.compiled, lambda runtime: CompiledControlNet(runtime, weights, config, build, tell), plain
    )


def build_union(tensors: Mapping[str, Tensor], compute: Compute, file: Path, tell: Tell = untold) -> Union:
    """A ControlNet Union, which takes several kinds of control, compiled where its compute says so; raises ModelFileError naming the first
    tensor that does not fit."""
    from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel

    named = ldm_named(tensors)
    types, width = needed(named, "task_embedding").shape
    embedded = needed(named, "control_add_embedding.linear_1.weight").shape[1]
    config = {
        **control_config(named),
        "num_control_type": types,
        "num_trans_channel": width,
        "num_proj_channel": needed(named, "spatial_ch_projs.weight").shape[0],
        "num_trans_head": max(width // UNION_HEAD, 1),
        "num_trans_layer": count_of(named, "transformer_layes"),
        "addition_time_embed_dim": embedded // types,
    }
    weights = control_keys(unet_shape(named)).to_module(named)
    own = {name: tensor for name, tensor in named.items() if name.startswith(UNION_PARTS)}
    return Union(_built(ControlNetUnionModel, config, {**weights, **own}, compute, tell))


def ldm_named(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names they had when ControlNets were first trained."""
    own = without_prefix(tensors, PREFIX) or dict(tensors)
    return own if f"{HINT}.0.weight" in own else to_ldm(own)


def control_config(named: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of diffusers' ControlNetModel for ldm tensors."""
    first = needed(named, f"{HINT}.0.weight")
    strided = [needed(named, f"{HINT}.{at}.weight").shape[0] for at in (4, 8, 12)]
    return {
        **encoder_config(named),
        "conditioning_channels": first.shape[1],
        "conditioning_embedding_out_channels": (first.shape[0], *strided),
    }


def build_adapter(tensors: Mapping[str, Tensor], compute: Compute, file: Path) -> T2IAdapter:
    """A T2I-Adapter of either layout; raises ModelFileError naming the first tensor that does not fit."""
    from diffusers.models.adapter import T2IAdapter as Module

    named = adapter_named(tensors)
    light = "body.0.out_conv.weight" in named
    bodies = 1 + max(int(match[1]) for name in named if (match := re.match(r"body\.(\d+)\.", name)))
    resnets = 1 + max(int(match[1]) for name in named if (match := re.match(r"body\.0\.resnets\.(\d+)\.", name)))
    if light:
        channels = [needed(named, f"body.{n}.out_conv.weight").shape[0] for n in range(bodies)]
        kind, channels, seen = "light_adapter", channels[:-1], needed(named, "body.0.in_conv.weight").shape[1]
    else:
        channels = [needed(named, f"body.{n}.resnets.0.block1.weight").shape[0] for n in range(bodies)]
        seen = needed(named, "conv_in.weight").shape[1]
        kind = "full_adapter"
    large = seen in (256, 768)  # pixels of 16 x 16 go into one place instead of 8 x 8
    side = 16 if large else 8
    if large and not light:
        kind = "full_adapter_xl"
    if seen % side**2:
        raise ModelFileError(
            f'"{file.name}" reads {seen} channels, which no T2I-Adapter known here does. Choose another.'
        )
    with empty_weights():
        module = Module(
            in_channels=seen // side**2,
            channels=channels,
            num_res_blocks=resnets,
            downscale_factor=side,
            adapter_type=kind,
        )
    filled(module, {f"adapter.{name}": tensor for name, tensor in named.items()}, compute.home, compute.dtype)
    return T2IAdapter(module, channels=seen // side**2)


def adapter_named(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """diffusers' names, without their prefix: the original layout counts residual blocks through."""
    named = {name.removeprefix("adapter."): tensor for name, tensor in tensors.items()}
    if any(".resnets." in name for name in named):
        return named
    light = {re.sub(r"^(body\.\d+)\.body\.", r"\1.resnets.", name): tensor for name, tensor in named.items()}
    if any(".resnets." in name for name in light):
        return light
    blocks = sorted({int(match[1]) for name in named if (match := re.match(r"body\.(\d+)\.", name))})
    each = max(len(blocks) // 4, 1)  # four levels
    found: dict[str, Tensor] = {}
    for name, tensor in named.items():
        match = re.match(r"body\.(\d+)\.(.+)", name)
        if match is None:
            found[name] = tensor
        elif match[2].startswith("in_conv."):
            found[f"body.{int(match[1]) // each}.{match[2]}"] = tensor
        else:
            found[f"body.{int(match[1]) // each}.resnets.{int(match[1]) % each}.{match[2]}"] = tensor
    return found
