"""Stage 1: the autoencoder, on drawn pictures."""

import random
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from modules.starter.share import bfloat16

from .draw import draw
from .fit import Budget, Recipe, fit, trained
from .parts import make_autoencoder
from .scene import GRID, Scene, training_scene


def to_tensor(images: list) -> Tensor:
    """PIL pictures -> (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2).float() / 127.5 - 1


def reconstruction_loss(made: Tensor, true: Tensor) -> Tensor:
    """L1 of the pixels, of the picture's edges, and of the picture made small; the square of the error, for colours."""
    loss = (made - true).abs().mean() + 2 * (made - true).square().mean()
    for axis in (-1, -2):
        loss = loss + 0.5 * (made.diff(dim=axis) - true.diff(dim=axis)).abs().mean()
    for factor in (2, 4, 8):
        loss = loss + 0.5 * (functional.avg_pool2d(made, factor) - functional.avg_pool2d(true, factor)).abs().mean()
    return loss


def crops(rng: random.Random, count: int, side: int = 64) -> Tensor:
    """Parts of drawn pictures, two of each, on the autoencoder's grid: (count, 3, side, side) in [-1, 1]."""
    pixels = to_tensor([draw(training_scene(rng)) for _ in range(count // 2)])
    parts = []
    for picture in pixels:
        for _ in range(2):
            x, y = (GRID * rng.randint(0, (128 - side) // GRID) for _ in range(2))
            parts.append(picture[:, y : y + side, x : x + side])
    return torch.stack(parts)


def train_autoencoder(path: Path, budget: Budget, *, seed: int = 0, batch: int = 8) -> AutoencoderKL:
    """Trains, or goes on training, the checkpoint at `path`."""
    torch.manual_seed(seed)
    model = make_autoencoder()
    with torch.no_grad():
        model.quant_conv.bias[4:] -= 5  # starts with little noise

    def loss_at(step: int):
        rng, noise = random.Random(f"{seed}/{step}"), torch.Generator().manual_seed(seed * 1_000_003 + step)
        true = crops(rng, batch)
        with bfloat16():
            moments = model.quant_conv(model.encoder(true)).float()
            mean, logvar = moments.chunk(2, dim=1)
            logvar = logvar.clamp(-12, 4)
            z = mean + (0.5 * logvar).exp() * torch.randn(mean.shape, generator=noise)
            made = model.decoder(model.post_quant_conv(z)).float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        l1 = (made - true).abs().mean().item()
        spread = {"l1": l1, "kl": kl.item(), "std": mean.std().item(), "sigma": (0.5 * logvar).exp().mean().item()}
        return reconstruction_loss(made, true) + 2e-4 * kl, spread

    return fit(model, loss_at, path=path, budget=budget, recipe=Recipe(rate=2e-3, warmup=60, ema=0.998))


HARD = ("pixel", "neon", "watercolour", "pixel", "neon", "flat", "pixel", "neon", "watercolour", "line")
"""Styles as often as the decoder needs them."""


def _styled_scene(rng: random.Random, style: str) -> Scene:
    """A training scene of this style."""
    return next(scene for scene in iter(lambda: training_scene(rng), None) if scene.style == style)


def polish(start: Path, path: Path, budget: Budget, *, seed: int = 0, batch: int = 2) -> AutoencoderKL:
    """Trains the decoder further on whole pictures, the latents as they are with a little noise; from `start` to `path`."""
    torch.manual_seed(seed)
    model = trained(make_autoencoder(), start)
    for part in (model.decoder, model.post_quant_conv):
        part.requires_grad_(True)

    def loss_at(step: int):
        rng, noise = random.Random(f"polish {seed}/{step}"), torch.Generator().manual_seed(seed * 1_000_003 + step)
        true = to_tensor([draw(_styled_scene(rng, HARD[(step * batch + i) % len(HARD)])) for i in range(batch)])
        with bfloat16():
            with torch.no_grad():
                z = model.quant_conv(model.encoder(true))[:, :4].float()
            z = z + 0.15 * torch.randn(z.shape, generator=noise)
            made = model.decoder(model.post_quant_conv(z)).float()
        edges = sum((made.diff(dim=axis) - true.diff(dim=axis)).abs().mean() for axis in (-1, -2))
        return reconstruction_loss(made, true) + edges, {"l1": (made - true).abs().mean().item()}

    return fit(model, loss_at, path=path, budget=budget, recipe=Recipe(rate=1e-3, warmup=30, ema=0.995))
