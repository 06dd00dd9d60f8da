"""Reads whether a picture is in the LoRA's style: one more head on the reader's own features, taught by drawn pictures."""

import random
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from modules.starter.share import bfloat16

from .draw import draw, draw_parchment
from .fit import Budget, Recipe, fit
from .lora import STYLE
from .reader import Reader
from .scene import STYLES, random_scene
from .train_autoencoder import to_tensor
from .train_reader import spoil

READ = (*STYLES, STYLE)


class StyleReader(nn.Module):
    """(B, 3, H, W) in [-1, 1] -> logits (B, 6) over READ. The reader is used as it is; only the head learns."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.head = nn.Linear(reader.whole.in_features, len(READ))
        self._features = [reader.stem, reader.body]  # in a list: no part of what is trained and kept

    def forward(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():
            x = pixels
            for part in self._features:
                x = part(x)
        return self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1).float())


def painted(rng: random.Random, count: int) -> tuple[Tensor, Tensor]:
    """Pictures of any scenes in all six styles, (B, 3, 128, 128), and which style each is in, (B,)."""
    chosen = [rng.randrange(len(READ)) for _ in range(count)]
    scenes = [replace(random_scene(rng), style=READ[i]) for i in chosen]
    return to_tensor([draw_parchment(one) if one.style == STYLE else draw(one) for one in scenes]), torch.tensor(chosen)


def train_style(path: Path, budget: Budget, *, reader: Reader, seed: int = 0, batch: int = 16) -> StyleReader:
    """Trains, or goes on training, the checkpoint at `path`."""
    torch.manual_seed(seed)
    model = StyleReader(reader)

    def loss_at(step: int):
        noise = torch.Generator().manual_seed(seed * 1_000_003 + step)
        pixels, styles = painted(random.Random(f"style {seed}/{step}"), batch)
        with bfloat16():
            logits = model(spoil(pixels, noise))
        right = (logits.argmax(1) == styles).float().mean().item()
        return functional.cross_entropy(logits.float(), styles), {"right": right}

    return fit(model, loss_at, path=path, budget=budget, recipe=Recipe(rate=1e-2, warmup=10, ema=0.95))


def write_style(model: StyleReader, path: Path) -> None:
    """The head alone."""
    save_file({name: value.half().contiguous() for name, value in model.state_dict().items()}, path)


def load_style(path: Path, reader: Reader) -> StyleReader:
    """The head shipped, on the reader."""
    model = StyleReader(reader)
    model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return model.requires_grad_(False).eval()
