"""Stage 4: the U-Net, on the latents, told by the frozen text encoder."""

import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextModel

from modules.starter.share import bfloat16

from .captions import tell
from .diffusion import alphas_cumprod, ddim
from .fit import Budget, Recipe, fit
from .hints import Hinted, hint_loss
from .latents import scene_at, statistics
from .parts import CHANNELS
from .words import lesson, tokenize

WATCHED = (
    "a big red cat on the beach, flat illustration", "a blue rocket in the night sky, flat illustration", "a green car in the city, pixel art",
    "a watercolour painting of a yellow house in a meadow", "neon, a pink heart in the forest", "a line drawing of an orange fish under water",
    "a purple butterfly left of a white rabbit in a meadow, flat illustration", "a black bird above a red boat by the sea, watercolour",
    "pixel art of a blue robot to the right of an orange cactus in the desert", "a brown mushroom below a yellow moon in the forest, neon",
    "a red apple, a green cup and a blue star, flat style", "a white ghost",
)  # fmt: skip


HINTS = 0.05
"""Weight of the hints beside the noise's error."""


def train_unet(
    path: Path, budget: Budget, *, text: CLIPTextModel, latents: Tensor, autoencoder: AutoencoderKL | None = None, seed: int = 0,
    batch: int = 32, rate: float = 1.5e-3, channels: tuple[int, ...] = CHANNELS, save_seconds: float = 300, until_step: int | None = None,
) -> UNet2DConditionModel:  # fmt: skip
    """Trains, or goes on training, the checkpoint at `path`. `latents`: (N, 4, 16, 16) of `scene_at(0..N-1)`."""
    torch.manual_seed(seed)
    model, abar = Hinted(channels), alphas_cumprod()
    model.unet.set_attn_processor(AttnProcessor())  # twice as fast as torch's fused attention to train on a CPU
    mean, std = (v[:, None, None] for v in statistics(latents))
    text.requires_grad_(False).eval()
    empty = tokenize([""])

    def loss_at(step: int):
        rng, noise = random.Random(f"unet {seed}/{step}"), torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = rng.sample(range(len(latents)), batch)
        scenes = [scene_at(i) for i in chosen]
        ids = torch.tensor([_ids(scene, rng) for scene in scenes])
        told = torch.arange(batch) >= batch // 10 + (rng.random() < batch % 10 / 10)
        ids[~told] = empty
        x = (latents[chosen].float() - mean) / std
        t = ((torch.randperm(batch, generator=noise) + torch.rand(batch, generator=noise)) * (1000 / batch)).long()
        eps = torch.randn(x.shape, generator=noise)
        a = abar[t][:, None, None, None]
        with bfloat16():
            with torch.no_grad():
                states = text(ids).last_hidden_state
            made, logits = model(a.sqrt() * x + (1 - a).sqrt() * eps, t, states)
        each = (made.float() - eps).square().mean((1, 2, 3))
        hints = hint_loss(logits, scenes, told)
        parts = {"mse": each.mean().item(), "late": each[t > 500].mean().item(), "hints": hints.item()}
        return (each * weight(a.flatten() / (1 - a.flatten()))).mean() + HINTS * hints, parts

    def watch(average, step: int) -> None:
        if autoencoder is None:
            return
        with torch.no_grad(), bfloat16():
            made = ddim(average.unet, text(tokenize(list(WATCHED))).last_hidden_state, text(empty).last_hidden_state)
            pixels = autoencoder.decoder(autoencoder.post_quant_conv(made * std + mean)).float()
        sheet(pixels, columns=6).save(path.with_name(f"watch-{step:06}.png"))

    recipe = Recipe(rate=rate, warmup=150, ema=0.9985, save_seconds=save_seconds)
    return fit(model, loss_at, path=path, budget=budget, recipe=recipe, on_save=watch, until_step=until_step).unet


def weight(snr: Tensor) -> Tensor:
    """Of the squared error of the noise, by signal-to-noise ratio: as of v with min-SNR 5 (arXiv:2303.09556), at most 8.

    What the words decide is decided at high noise, where an error of the noise is a large one of the picture.
    """
    return ((1 + snr.clamp(max=5)) / snr).clamp(max=8)


def _ids(scene, rng: random.Random) -> list[int]:
    return lesson(scene, tell(scene, rng), rng).ids


def sheet(pixels: Tensor, *, columns: int) -> Image.Image:
    """(B, 3, H, W) in [-1, 1] -> one picture of them in rows, 2 pixels apart."""
    padded = functional.pad(((pixels.clamp(-1, 1) + 1) * 127.5).byte(), (1, 1, 1, 1), value=255)
    padded = functional.pad(padded, (0, 0, 0, 0, 0, 0, 0, -len(padded) % columns), value=255)
    rows = padded.unflatten(0, (-1, columns)).permute(0, 3, 1, 4, 2)  # (rows, H, columns, W, 3)
    return Image.fromarray(rows.flatten(0, 1).flatten(1, 2).contiguous().numpy())
