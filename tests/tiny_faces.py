"""Tiny networks for faces of seeded random weights: what tells them apart, and adapters that go by them, in the layouts of the files people
download."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tests.tiny_control import ip_adapter_tensors

WIDTH, TOKENS = 512, 4


def photograph() -> np.ndarray:
    """(512, 512, 3): an astronaut, whose face is at (170, 60) to (285, 190)."""
    import skimage.data

    return np.array(Image.open(Path(skimage.data.__file__).with_name("astronaut.png")).convert("RGB"))


def write_reader(path: Path, seed: int = 0, *, prepared: bool = False) -> np.ndarray:
    """A network of ArcFace's input and output: means of 8 x 8 squares times a matrix (588, 512), which is returned. `prepared`: it subtracts
    and multiplies by itself."""
    import openvino
    from openvino import opset13 as ops

    matrix = np.random.default_rng(seed).normal(size=(3 * 14 * 14, WIDTH)).astype(np.float32)
    x: Any = ops.parameter([1, 3, 112, 112], np.float32, name="input.1")
    seen: Any = x
    if prepared:
        seen = ops.multiply(ops.subtract(x, np.float32(127.5)), np.float32(1 / 127.5))
    pooled = ops.avg_pool(seen, [8, 8], [0, 0], [0, 0], [8, 8], exclude_pad=True)
    flat = ops.reshape(pooled, np.array([1, -1]), special_zero=False)
    build: Any = openvino.Model
    path.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(
        build([ops.matmul(flat, ops.constant(matrix), False, False)], [x], "network"), path, compress_to_fp16=False
    )
    return matrix


def face_adapter_tensors(unet: Any, kind: str, seed: int = 5, *, rank: int = 4) -> dict[str, Tensor]:
    """An adapter for that U-Net: `kind` is "id", "plus" or "instant"; the first two hold a LoRA of that rank."""
    generator = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.2

    width = unet.config.cross_attention_dim
    found = ip_adapter_tensors(unet, seed, embedded=WIDTH if kind == "instant" else 64, plus=kind != "id")
    image = {name: found.pop(name) for name in [*found] if name.startswith("image_proj.")}
    if kind == "instant":
        return {**image, **found}
    inner = width  # of the perceiver too, which is as wide as the words here
    found |= {
        "image_proj.proj.0.weight": some(2 * WIDTH, WIDTH),
        "image_proj.proj.0.bias": some(2 * WIDTH),
        "image_proj.proj.2.weight": some(TOKENS * inner, 2 * WIDTH) * 0.1,
        "image_proj.proj.2.bias": some(TOKENS * inner),
        "image_proj.norm.weight": 1 + some(inner),
        "image_proj.norm.bias": some(inner),
    }
    if kind == "plus":
        image.pop("image_proj.latents")
        found |= {name.replace("image_proj.", "image_proj.perceiver_resampler."): one for name, one in image.items()}
    for number, name in enumerate(unet.attn_processors):
        attention = unet.get_submodule(name.removesuffix(".processor"))
        for part, layer in (
            ("q", attention.to_q), ("k", attention.to_k), ("v", attention.to_v), ("out", attention.to_out[0]),
        ):  # fmt: skip
            found[f"ip_adapter.{number}.to_{part}_lora.down.weight"] = some(rank, layer.in_features)
            found[f"ip_adapter.{number}.to_{part}_lora.up.weight"] = some(layer.out_features, rank)
    return found
