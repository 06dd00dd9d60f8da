"""IP-Adapters built of their tensors: plain, plus, full face, and those that go by faces."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from modules.control.face_adapter import FACE_ID, FACE_ID_PLUS, INSTANT_ID, SECOND, FaceAdapter, face_loras
from modules.control.ip_adapter import IPAdapter
from modules.core.errors import ModelFileError
from modules.devices.choice import Compute
from modules.families.assembly import filled
from modules.families.source import without_prefix

FACE = 512
"""Width of a face's embedding, by which adapters for faces go."""

_LAYER = re.compile(r"ip_adapter\.(\d+)\.to_(k|v)_ip\.weight")


def build_ip_adapter(tensors: Mapping[str, Tensor], compute: Compute, file: Path) -> IPAdapter:
    """An IP-Adapter; raises ModelFileError for one that is not known here, or that lacks parts."""
    from diffusers.loaders.unet import UNet2DConditionLoadersMixin

    told = without_prefix(tensors, "image_proj.")
    kind = face_kind(told)
    try:
        module: Any = UNet2DConditionLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers(
            {name: tensor.float() for name, tensor in told.items()}, low_cpu_mem_usage=False
        )
    except (KeyError, RuntimeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise ModelFileError(
            f'"{file.name}" lacks parts of an IP-Adapter, or is damaged. Download it again.'
        ) from error
    filled(module, dict(module.named_parameters()), compute.home, compute.dtype)
    try:
        layers = _layers(tensors, compute)
        loras = face_loras(tensors, lambda tensor: tensor.to(compute.device, compute.dtype))
    except KeyError as error:
        raise ModelFileError(f'"{file.name}" lacks half of what a layer needs ({error}). Download it again.') from error
    if not kind:
        first = next(told[name] for name in ("proj.weight", "proj.0.weight", "proj_in.weight") if name in told)
        return IPAdapter(module, layers, embedded=first.shape[1], whole="proj.weight" not in told)
    embedded = FACE
    if kind == FACE_ID_PLUS:
        embedded = told["perceiver_resampler.proj_in.weight"].shape[1]
        module.shortcut = bool(SECOND.search(file.stem.casefold()))
    return FaceAdapter(module, layers, embedded=embedded, kind=kind, loras=loras)


def face_kind(told: Mapping[str, Tensor]) -> str:
    """Which of those that go by faces a projection belongs to, "" to none of them."""
    if "proj_in.weight" in told and told["proj_in.weight"].shape[-1] == FACE:
        return INSTANT_ID
    if any(name.startswith("perceiver_resampler.") for name in told):
        return FACE_ID_PLUS
    return FACE_ID if "proj.0.weight" in told and "proj.3.weight" not in told else ""


def _layers(tensors: Mapping[str, Tensor], compute: Compute) -> dict[int, tuple[Tensor, Tensor]]:
    """Keys and values by the numbers of the attentions; raises KeyError for one without the other."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if match := _LAYER.fullmatch(name):
            found.setdefault(int(match[1]), {})[match[2]] = tensor.to(compute.device, compute.dtype)
    return {number: (layer["k"], layer["v"]) for number, layer in found.items()}
