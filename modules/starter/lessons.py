"""Drawn scenes as networks learn from them, computed once: pictures, latents and what the captions say."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from modules.starter.share import bfloat16

from .base import Base, noised
from .captions import tell
from .draw import draw
from .scene import Scene, training_scene
from .train_autoencoder import to_tensor
from .words import lesson, tokenize

TELLINGS = 2
"""Captions kept of each scene."""

Telling = Callable[[Scene, random.Random], list[int]]
StatesOf = Callable[[list[int], random.Random], Tensor]
LossAt = Callable[[int], tuple[Tensor, dict[str, float]]]


@dataclass(frozen=True)
class Lessons:
    """`pixels` (N, 3, 128, 128) uint8, `latents` (N, 4, 16, 16) float16, `states` (N, TELLINGS, 77, C) float16."""

    pixels: Tensor
    latents: Tensor
    states: Tensor

    def told(self, chosen: list[int], rng: random.Random) -> Tensor:
        """The states of one caption of each of the chosen scenes, (B, 77, C) float32."""
        return torch.stack([self.states[i, rng.randrange(TELLINGS)].float() for i in chosen])


def as_told(scene: Scene, rng: random.Random) -> list[int]:
    """Ids of an ordinary caption."""
    return lesson(scene, tell(scene, rng), rng).ids


def scene_of(name: str, index: int, make: Callable[[random.Random], Scene] = training_scene) -> Scene:
    """Scene `index` of the lessons of that name."""
    return make(random.Random(f"lessons {name}/{index}"))


def prepare(
    base: Base, path: Path, *, name: str, count: int, make: Callable[[random.Random], Scene] = training_scene,
    paint: Callable[[Scene], Image.Image] = draw, telling: Telling = as_told, block: int = 500,
) -> Lessons:  # fmt: skip
    """The lessons in the folder `path`, made in blocks and kept; goes on where a part of them is there."""
    path.mkdir(parents=True, exist_ok=True)
    blocks = []
    for first in range(0, count, block):
        file = path / f"{name}-{first:06}.pt"
        if not file.exists():
            scenes = [scene_of(name, i, make) for i in range(first, min(count, first + block))]
            _keep(_lessons(base, name, first, scenes, paint, telling), file)
            print(f"{name}: {first + len(scenes)} of {count} scenes", flush=True)
        blocks.append(torch.load(file, weights_only=True))
    return Lessons(*(torch.cat([one[part] for one in blocks]) for part in ("pixels", "latents", "states")))


@torch.no_grad()
def _lessons(
    base: Base,
    name: str,
    first: int,
    scenes: list[Scene],
    paint: Callable[[Scene], Image.Image],
    telling: Telling,
) -> dict[str, Tensor]:
    pixels, latents, states = [], [], []
    for start in range(0, len(scenes), 20):
        some = scenes[start : start + 20]
        pictures = to_tensor([paint(scene) for scene in some])
        lots = [random.Random(f"telling {name}/{first + start + i}") for i in range(len(some))]
        ids = torch.tensor(
            [telling(scene, rng) for scene, rng in zip(some, lots, strict=True) for _ in range(TELLINGS)]
        )
        with bfloat16():
            latents.append(base.latents(pictures).half())
            states.append(base.text(ids).last_hidden_state.unflatten(0, (-1, TELLINGS)).half())
        pixels.append(((pictures + 1) * 127.5).round().byte())
    return {"pixels": torch.cat(pixels), "latents": torch.cat(latents), "states": torch.cat(states)}


def _keep(state: dict[str, Tensor], path: Path) -> None:
    """Written beside and renamed, so that a kill leaves no half of a file."""
    beside = path.with_suffix(".tmp")
    torch.save(state, beside)
    beside.replace(path)


def steps_of(
    base: Base, lessons: Lessons, *, name: str, seed: int, batch: int, states_of: StatesOf | None = None
) -> LossAt:
    """What `fit` asks at each step, for networks that act on the frozen U-Net from inside or through its words."""
    empty = base.text(tokenize([""])).last_hidden_state

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        rng, noise = random.Random(f"{name} {seed}/{step}"), torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = rng.sample(range(len(lessons.latents)), batch)
        noisy = noised(lessons.latents[chosen].float(), noise)
        with bfloat16():
            if states_of:
                states = states_of(chosen, rng)
            else:
                states = lessons.told(chosen, rng)
                states[: int(batch / 8 + rng.random())] = empty
            made = base.unet(noisy.x, noisy.t, states).sample
        return noisy.loss(made)

    return loss_at
