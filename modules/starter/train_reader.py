"""Stage 5: the reader, on drawn pictures that are shifted, bent, blurred, stained and made noisy."""

import random
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from modules.starter.share import bfloat16

from .draw import draw
from .fit import Budget, Recipe, fit
from .reader import CELL, Maps, Reader
from .scene import COLOURS, KINDS, PLACES, STYLES, Scene, random_scene
from .train_autoencoder import to_tensor


def spoil(pixels: Tensor, noise: torch.Generator) -> Tensor:
    """Bends, blurs, stains and noise, each picture its own; (B, 3, H, W) in [-1, 1]."""
    b, _, h, w = pixels.shape
    lot = torch.rand(len(pixels), 6, 1, 1, 1, generator=noise)
    bend = (
        functional.interpolate(torch.randn(b, 2, 9, 9, generator=noise), (h, w), mode="bicubic") * lot[:, 0] * 2.5 / w
    )
    grid = functional.affine_grid(torch.eye(2, 3).expand(b, 2, 3), [b, 3, h, w], align_corners=False)
    pixels = functional.grid_sample(
        pixels, grid + bend.permute(0, 2, 3, 1), padding_mode="reflection", align_corners=False
    )
    soft = functional.avg_pool2d(functional.pad(pixels, (2, 2, 2, 2), mode="replicate"), 5, 1)
    pixels = torch.lerp(pixels, soft, (1.6 * lot[:, 1] - 0.5).clamp(0, 1))
    stains = functional.interpolate(torch.randn(b, 3, 16, 16, generator=noise), (h, w), mode="bilinear")
    pixels = pixels + 0.15 * lot[:, 2] * stains
    pixels = pixels * (0.85 + 0.3 * lot[:, 3]) + 0.2 * (lot[:, 4] - 0.5)
    return (pixels + 0.12 * lot[:, 5] * torch.randn(pixels.shape, generator=noise)).clamp(-1, 1)


def wanted_maps(scenes: list[Scene], shifts: list[tuple[int, int]], cells: int = 16) -> tuple[Tensor, Tensor]:
    """Heat per kind (B, 26, 16, 16), a Gaussian a thing, and the colour's index (B, 16, 16) near things, else -100."""
    heat = torch.zeros(len(scenes), len(KINDS), cells, cells)
    colour = torch.full((len(scenes), cells, cells), -100)
    grid = torch.arange(cells) + 0.5
    for i, (scene, (dx, dy)) in enumerate(zip(scenes, shifts, strict=True)):
        for thing in scene.things:
            far = (grid[None, :] - (thing.x + dx) / CELL).square() + (grid[:, None] - (thing.y + dy) / CELL).square()
            here = torch.exp(-(far - far.min()) / 1.5)
            kind = KINDS.index(thing.kind)
            heat[i, kind] = torch.maximum(heat[i, kind], here)
            colour[i][far < 2.5] = COLOURS.index(thing.colour)
    return heat, colour


def reading_loss(maps: Maps, heat: Tensor, colour: Tensor, place: Tensor, style: Tensor) -> Tensor:
    """Focal loss of the heat (arXiv:1904.07850, eq. 1) and cross entropy of the rest."""
    logits = maps.kind
    p, centre = logits.sigmoid(), heat > 0.99
    found = functional.logsigmoid(logits) * (1 - p).square() * centre
    clear = functional.logsigmoid(-logits) * p.square() * (1 - heat).pow(4) * ~centre
    loss = -(found + clear).sum() / centre.sum()
    loss = loss + functional.cross_entropy(maps.colour, colour, ignore_index=-100)
    return loss + functional.cross_entropy(maps.place, place) + functional.cross_entropy(maps.style, style)


def train_reader(path: Path, budget: Budget, *, seed: int = 0, batch: int = 32) -> Reader:
    """Trains, or goes on training, the checkpoint at `path`."""
    torch.manual_seed(seed)
    model = Reader()

    def loss_at(step: int):
        rng, noise = random.Random(f"reader {seed}/{step}"), torch.Generator().manual_seed(seed * 1_000_003 + step)
        scenes = [random_scene(rng) for _ in range(batch)]
        shifts = [(rng.randint(-6, 6), rng.randint(-6, 6)) for _ in scenes]
        pixels = to_tensor([draw(scene) for scene in scenes])
        moved = [one.roll((dy, dx), (1, 2)) for one, (dx, dy) in zip(pixels, shifts, strict=True)]
        heat, colour = wanted_maps(scenes, shifts)
        place = torch.tensor([PLACES.index(scene.place) for scene in scenes])
        style = torch.tensor([STYLES.index(scene.style) for scene in scenes])
        with bfloat16():
            maps = model(spoil(torch.stack(moved), noise))
        maps = Maps(maps.kind.float(), maps.colour.float(), maps.place.float(), maps.style.float())
        return reading_loss(maps, heat, colour, place, style), {
            "placed": (maps.place.argmax(1) == place).float().mean().item()
        }

    return fit(model, loss_at, path=path, budget=budget, recipe=Recipe(rate=2e-3, warmup=60, ema=0.995))
