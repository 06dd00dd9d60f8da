"""Stage 3: the latents of training scenes, encoded once; scene i is drawn by lot from i alone."""

import random
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from modules.starter.share import bfloat16

from .draw import draw
from .scene import Scene, training_scene
from .train_autoencoder import to_tensor


def scene_at(index: int, seed: int = 0) -> Scene:
    """Training scene number `index`."""
    return training_scene(random.Random(f"scene {seed}/{index}"))


@torch.no_grad()
def encode_scenes(model: AutoencoderKL, path: Path, *, count: int, seed: int = 0, block: int = 1000) -> None:
    """Writes latents (count, 4, 16, 16) float16, not normalised, to `path`; goes on where a part of them is there."""
    done = torch.load(path, weights_only=True) if path.exists() else torch.empty(0, 4, 16, 16, dtype=torch.float16)
    start, had = time.monotonic(), len(done)
    while len(done) < count:
        parts = []
        for first in range(len(done), len(done) + block, 20):
            pixels = to_tensor([draw(scene_at(i, seed)) for i in range(first, first + 20)])
            with bfloat16():
                parts.append(model.quant_conv(model.encoder(pixels))[:, :4].half())
        done = torch.cat([done, *parts])
        torch.save(done, path)
        print(
            f"latents  {len(done)}/{count}  {(len(done) - had) / (time.monotonic() - start):.0f} a second", flush=True
        )


def statistics(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel, (4,) each, float32."""
    values = latents[:4000].float()
    return values.mean((0, 2, 3)), values.std((0, 2, 3))
