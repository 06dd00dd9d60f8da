"""Stage 2: the text encoder, on captions alone: from its states must be read what the words say of the picture."""

import random
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from .captions import tell
from .fit import Budget, Recipe, fit
from .parts import WIDTH, make_text_encoder
from .scene import training_scene
from .words import HEADS, IGNORE, Lesson, lesson


class Schooled(nn.Module):
    """The text encoder with the linear heads that exist for its training only."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = make_text_encoder()
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, classes) for name, classes in HEADS.items()})

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        """(B, 77) ids -> per head (B, 77, classes)."""
        states = self.encoder(ids).last_hidden_state
        return {name: head(states) for name, head in self.heads.items()}


def make_lessons(rng: random.Random, batch: int) -> list[Lesson]:
    """Lessons on scenes drawn by lot."""
    scenes = [training_scene(rng) for _ in range(batch)]
    return [lesson(scene, tell(scene, rng), rng) for scene in scenes]


def train_text(path: Path, budget: Budget, *, seed: int = 0, batch: int = 64) -> nn.Module:
    """Trains, or goes on training, the checkpoint at `path`."""
    torch.manual_seed(seed)
    model = Schooled()

    def loss_at(step: int):
        lessons = make_lessons(random.Random(f"text {seed}/{step}"), batch)
        out = model(torch.tensor([one.ids for one in lessons]))
        loss, parts = torch.zeros(()), {}
        for name, logits in out.items():
            wanted = torch.tensor([one.targets[name] for one in lessons]).flatten()
            logits = logits.flatten(0, 1)
            loss = loss + functional.cross_entropy(logits, wanted, ignore_index=IGNORE)
            known = wanted != IGNORE
            parts[name] = (logits.detach().argmax(1) == wanted)[known].float().mean().item()
        return loss, parts

    return fit(model, loss_at, path=path, budget=budget, recipe=Recipe(rate=1e-3, warmup=200, ema=0.995, decay=0.05))
