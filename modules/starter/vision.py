"""A small image encoder in CLIP's layout for the starter's image prompts: what a drawn picture shows must be read from its embedding."""

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from modules.starter.share import bfloat16

from .fit import Budget, Recipe, fit
from .lessons import Lessons
from .scene import COLOURS, KINDS, PLACES, STYLES, Scene

SIDE, WIDTH = 128, 128
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""CLIP's, of pixels from 0 to 1."""
HEADS = {"kind": len(KINDS) * len(COLOURS), "place": len(PLACES), "style": len(STYLES)}


def make_vision() -> CLIPVisionModelWithProjection:
    """(B, 3, 128, 128), normalised as CLIP's -> embeddings (B, 128)."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=4, num_attention_heads=WIDTH // 64,
            image_size=SIDE, patch_size=16, projection_dim=WIDTH, hidden_act="quick_gelu",
        )
    )  # fmt: skip


def normalised(pixels: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 -> as CLIP's encoders take it."""
    mean, std = (torch.tensor(one)[:, None, None] for one in (MEAN, STD))
    return (pixels.float() / 255 - mean) / std


@dataclass(frozen=True)
class Shown:
    """What pictures show: `kinds` (B, 260) of 0 and 1, a kind in a colour each; `place` and `style` (B,)."""

    kinds: Tensor
    place: Tensor
    style: Tensor


def shown(scenes: list[Scene]) -> Shown:
    """What those scenes' pictures show."""
    kinds = torch.zeros(len(scenes), HEADS["kind"])
    for i, scene in enumerate(scenes):
        for thing in scene.things:
            kinds[i, KINDS.index(thing.kind) * len(COLOURS) + COLOURS.index(thing.colour)] = 1
    place = torch.tensor([PLACES.index(scene.place) for scene in scenes])
    return Shown(kinds, place, torch.tensor([STYLES.index(scene.style) for scene in scenes]))


class Schooled(nn.Module):
    """The encoder with the linear heads that exist for its training only."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = make_vision()
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, classes) for name, classes in HEADS.items()})
        nn.init.constant_(self.heads["kind"].bias, -4.0)  # pyright: ignore[reportArgumentType]

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Logits per head, (B, classes)."""
        embeds = self.encoder(normalised(pixels)).image_embeds
        return {name: head(embeds).float() for name, head in self.heads.items()}


def train_vision(
    path: Path, budget: Budget, *, lessons: Lessons, scene_at, seed: int = 0, batch: int = 32, until_step: int | None = None
) -> CLIPVisionModelWithProjection:  # fmt: skip
    """Trains, or goes on training, the checkpoint at `path`. `scene_at(i)` is the scene of the lessons' picture i."""
    torch.manual_seed(seed)
    model = Schooled()

    def loss_at(step: int):
        chosen = random.Random(f"vision {seed}/{step}").sample(range(len(lessons.pixels)), batch)
        wanted = shown([scene_at(i) for i in chosen])
        with bfloat16():
            out = model(lessons.pixels[chosen])
        loss = 40 * functional.binary_cross_entropy_with_logits(out["kind"], wanted.kinds)
        loss = (
            loss
            + functional.cross_entropy(out["place"], wanted.place)
            + functional.cross_entropy(out["style"], wanted.style)
        )
        first = (out["kind"].detach().argmax(1, keepdim=True) == wanted.kinds.topk(1).indices).float().mean().item()
        return loss, {"kind": first}

    return fit(
        model, loss_at, path=path, budget=budget, recipe=Recipe(rate=1e-3, warmup=50, ema=0.99), until_step=until_step
    ).encoder


def write_vision(model: CLIPVisionModelWithProjection, path: Path) -> None:
    """One file under transformers' names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: value.half().contiguous() for name, value in model.state_dict().items() if "position_ids" not in name
    }
    save_file(tensors, path)
