"""The way into the common space of the starter's small CLIP: words and embeddings of pictures, brought together by contrast."""

import random
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from transformers import CLIPVisionModelWithProjection

from modules.detect.starter_clip import Meaning, normalised

from .captions import tell
from .fit import Budget, Recipe, fit
from .lessons import Lessons
from .scene import Scene
from .words import clip_words

SCALE = 20.0
"""What similarities are multiplied by before the softmax."""

TELLINGS = 4
"""Captions of each scene that are looked through for words."""


def words_of(scene: Scene, rng: random.Random) -> list[int]:
    """Ids of a caption, or of one piece of it, as people search."""
    told = tell(scene, rng, everything=rng.random() < 0.5)
    text = told.text if rng.random() < 0.7 else rng.choice(told.pieces).text
    return clip_words()(text.strip(" ,.").lower()) or clip_words()(told.text)


def known_words(scenes: list[Scene]) -> Tensor:
    """The ids of all words of their captions, in order."""
    rng = random.Random("words")
    return torch.tensor(sorted({id for scene in scenes for _ in range(TELLINGS) for id in words_of(scene, rng)}))


@torch.no_grad()
def embeds_of(vision: CLIPVisionModelWithProjection, lessons: Lessons) -> Tensor:
    """(N, 128)."""
    return torch.cat([vision(normalised(part)).image_embeds for part in lessons.pixels.split(50)])


def train_meaning(
    path: Path, budget: Budget, *, vision: CLIPVisionModelWithProjection, lessons: Lessons, scene_at: Callable[[int], Scene], seed: int = 0,
    batch: int = 128, until_step: int | None = None,
) -> Meaning:  # fmt: skip
    """Trains, or goes on training, the checkpoint at `path`. `scene_at(i)` is the scene of the lessons' picture i."""
    torch.manual_seed(seed)
    scenes = [scene_at(i) for i in range(len(lessons.pixels))]
    model, embeds = Meaning(known_words(scenes)), embeds_of(vision, lessons)

    def loss_at(step: int):
        rng = random.Random(f"meaning {seed}/{step}")
        chosen = rng.sample(range(len(scenes)), min(batch, len(scenes)))
        pictures, words = model.of_pictures(embeds[chosen]), model.of_words([words_of(scenes[i], rng) for i in chosen])
        near, right = SCALE * pictures @ words.T, torch.arange(len(chosen))
        loss = functional.cross_entropy(near, right) + functional.cross_entropy(near.T, right)
        return loss, {"found": (near.argmax(0) == right).float().mean().item()}

    return fit(model, loss_at, path=path, budget=budget, recipe=Recipe(rate=2e-3, ema=0.99), until_step=until_step)


def write_meaning(model: Meaning, path: Path) -> None:
    """One file, in half precision but for the ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
