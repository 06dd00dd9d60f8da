"""Weights in float8 with a factor beside them, as ComfyUI's "scaled" files have them; and packings that are refused."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from modules.core.errors import ModelFileError
from modules.families.packed import PackedTensor

SCALES = (".scale_weight", ".weight_scale")
MARKS = ("scaled_fp8", ".scale_input", ".input_scale", ".comfy_quant")
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)

_REFUSED = (
    (r"\.(absmax|quant_map|nested_absmax)$|bitsandbytes", "bitsandbytes (nf4 or int8)"),
    (r"\.(qweight|wscales|smooth_factor)$", "SVDQuant or GPTQ"),
    (r"\.weight_scale_2$", "NVFP4"),
)


@dataclass(frozen=True)
class ScaleCodec:
    """Each value times one factor. Linear layers hold the products."""

    scale: float
    kept = False

    def unpack(self, packed: Tensor, columns: int) -> Tensor:
        """As Codec's."""
        return packed.float() * self.scale


def unscaled(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with their factors in them and the marks of such files left out; matrices are multiplied when they are taken.

    Raises ModelFileError for factors that fit no weight.
    """
    scales = {name: scale for name in tensors if (scale := _scale_of(name, tensors)) is not None}
    if not scales and not any(name.endswith(MARKS) for name in tensors):
        return dict(tensors)
    found = {}
    for name, tensor in tensors.items():
        if name in scales:
            found[name] = _multiplied(name, tensor, scales[name])
        elif not name.endswith((*SCALES, *MARKS)):
            found[name] = tensor
    return found


def refuse_packings(file: str, names: Iterable[str]) -> None:
    """Raise ModelFileError for a file whose weights are packed in a way that is not read here."""
    for name in names:
        for pattern, words in _REFUSED:
            if re.search(pattern, name):
                raise ModelFileError(
                    f'"{file}" is packed by {words}, which is not read here. Get it in fp16, bf16, fp8 or as GGUF.'
                )


def _scale_of(name: str, tensors: Mapping[str, Tensor]) -> Tensor | None:
    stem = name.removesuffix(".weight")
    found = (tensors.get(stem + suffix) for suffix in SCALES) if stem != name else ()
    return next((scale for scale in found if scale is not None), None)


def _multiplied(name: str, tensor: Tensor, scale: Tensor) -> Tensor:
    if scale.numel() == 1:
        factor = float(scale)
        if factor == 1.0 or tensor.dtype not in FLOAT8:
            return tensor if factor == 1.0 else tensor.float() * factor
        if tensor.ndim == 2:
            return PackedTensor(tensor, ScaleCodec(factor), tensor.shape[1], torch.float32)
        return tensor.float() * factor
    if tensor.ndim and scale.numel() == tensor.shape[0] and tensor.dtype in FLOAT8:
        return tensor.float() * scale.float().reshape(-1, *[1] * (tensor.ndim - 1))
    raise ModelFileError(
        f"The factors of {name} are {tuple(scale.shape)}, its values {tuple(tensor.shape)}: that packing is not read here. "
        "Get the model in fp16, bf16 or as GGUF."
    )
