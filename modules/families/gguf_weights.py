"""The tensors of a GGUF file, memory-mapped: matrices stay packed, everything else becomes what torch computes with.

Names are those of the program that was packed: networks have their original names; text encoders in llama.cpp's get transformers'.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modules.core.errors import ModelFileError, short
from modules.families.packed import PackedTensor
from modules.library.gguf import TYPES, GgufHeader, Packed, read_gguf
from modules.library.header import Header

PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

_T5 = (
    (r"^enc\.blk\.", "encoder.block."),
    (r"^token_embd\.", "shared."),
    (r"^enc\.output_norm\.", "encoder.final_layer_norm."),
    (r"\.attn_([qkvo])\.", r".layer.0.SelfAttention.\1."),
    (r"\.attn_rel_b\.", ".layer.0.SelfAttention.relative_attention_bias."),
    (r"\.attn_norm\.", ".layer.0.layer_norm."),
    (r"\.ffn_gate\.", ".layer.1.DenseReluDense.wi_0."),
    (r"\.ffn_up\.", ".layer.1.DenseReluDense.wi_1."),
    (r"\.ffn_down\.", ".layer.1.DenseReluDense.wo."),
    (r"\.ffn_norm\.", ".layer.1.layer_norm."),
)
_LANGUAGE = (
    (r"^blk\.", "model.layers."),
    (r"^token_embd\.", "model.embed_tokens."),
    (r"^output_norm\.", "model.norm."),
    (r"^output\.", "lm_head."),
    (r"\.attn_(q|k|v)\.", r".self_attn.\1_proj."),
    (r"\.attn_output\.", ".self_attn.o_proj."),
    (r"\.attn_(q|k)_norm\.", r".self_attn.\1_norm."),
    (r"\.attn_norm\.", ".input_layernorm."),
    (r"\.ffn_norm\.", ".post_attention_layernorm."),
    (r"\.ffn_(gate|up|down)\.", r".mlp.\1_proj."),
)
_TABLES = {"t5": _T5, "t5encoder": _T5, "qwen2": _LANGUAGE, "qwen2vl": _LANGUAGE, "qwen3": _LANGUAGE}
"""llama.cpp's architecture -> its names and transformers'."""


@dataclass(frozen=True)
class GgmlCodec:
    """ggml's type of that number."""

    type: int
    kept = True

    def unpack(self, packed: Tensor, columns: int) -> Tensor:
        """As Codec's."""
        import gguf
        from diffusers.quantizers.gguf.utils import dequantize_functions

        _, block, size = TYPES[self.type]
        blocks = packed.reshape(-1, size)
        function: Any = dequantize_functions[gguf.GGMLQuantizationType(self.type)]
        return function(blocks, block, size, torch.float32).float().reshape(len(packed), columns)


def read_gguf_header(path: Path) -> Header:
    """Names and shapes of the tensors; raises ModelFileError."""
    header = read_gguf(path)
    names = _names(path, header)
    metadata = {key: value for key, value in header.metadata.items() if isinstance(value, str)}
    return Header(shapes={names[name]: packed.shape for name, packed in header.tensors.items()}, metadata=metadata)


def read_gguf_weights(path: Path) -> dict[str, Tensor]:
    """The tensors by name, mapped from the file; raises ModelFileError."""
    header = read_gguf(path)
    names = _names(path, header)
    try:
        data = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
    except (OSError, RuntimeError) as error:
        raise ModelFileError(f'"{path.name}" cannot be read: {error}. Check the file.') from error
    return {names[name]: _tensor(data, packed) for name, packed in header.tensors.items()}


def _tensor(data: Tensor, packed: Packed) -> Tensor:
    label, block, size = TYPES[packed.type]
    raw = data[packed.start : packed.start + packed.size]
    if label in PLAIN:
        dtype = PLAIN[label]
        aligned = raw if packed.start % dtype.itemsize == 0 else raw.clone()
        return aligned.view(dtype).reshape(packed.shape)
    codec = GgmlCodec(packed.type)
    if len(packed.shape) == 2 and packed.shape[1] % block == 0:
        rows, columns = packed.shape
        return PackedTensor(raw.reshape(rows, columns // block * size), codec, columns, torch.float32)
    return codec.unpack(raw[None], math.prod(packed.shape)).reshape(packed.shape)


def _names(path: Path, header: GgufHeader) -> Mapping[str, str]:
    """The names of the tensors, and what they are called here."""
    foreign = any(re.match(r"(enc\.)?blk\.\d+\.attn_", name) for name in header.tensors)
    if not foreign:
        return {name: name for name in header.tensors}
    table = _TABLES.get(header.architecture)
    if table is None:
        raise ModelFileError(
            f'"{path.name}" is a GGUF of the language model {short(header.architecture)}, whose layout is not read here. '
            "Get the .safetensors version."
        )
    return {name: _renamed(name, table) for name in header.tensors}


def _renamed(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, words in table:
        name = re.sub(pattern, words, name)
    return name
