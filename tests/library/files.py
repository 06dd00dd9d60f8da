"""Model files for tests: true headers, and data that is not there (sparse)."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path


def write_model(path: Path, shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str] | None = None) -> Path:
    """A safetensors file of float16 tensors with these names and shapes, all zero."""
    entries, at = {}, 0
    for name, shape in shapes.items():
        size = 2
        for number in shape:
            size *= number
        entries[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    header = json.dumps({"__metadata__": dict(metadata or {}), **entries}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + at)
    return path


def lora_shapes(width: int = 768, rank: int = 4) -> dict[str, tuple[int, ...]]:
    """A LoRA of one attention layer that reads text of that width."""
    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    return {f"{stem}.lora_down.weight": (rank, width), f"{stem}.lora_up.weight": (320, rank), f"{stem}.alpha": ()}
