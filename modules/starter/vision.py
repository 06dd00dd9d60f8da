"""A small image encoder in CLIP's layout for the starter's image prompts: what a drawn picture shows must be read from its embedding."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionModelWithProjection

from modules.detect.starter_clip import PATCH, SIDE, WIDTH, make_vision, normalised
from modules.starter.share import bfloat16

from . import hints
from .draw import draw
from .fit import Budget, Recipe, fit
from .lessons import scene_of
from .reader import CELL
from .scene import COLOURS, KINDS, PLACES, STYLES, Scene

HEADS = {"kind": len(KINDS) * len(COLOURS), "place": len(PLACES), "style": len(STYLES)}


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
    """The encoder with the linear heads that exist for its training only: of its embedding, and of each patch (see `hints`)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = make_vision()
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, classes) for name, classes in HEADS.items()})
        self.patches = nn.Linear(WIDTH, hints.HEADS)
        nn.init.constant_(self.heads["kind"].bias, -4.0)  # pyright: ignore[reportArgumentType]

    def forward(self, pixels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """(B, 3, 128, 128) uint8 -> logits per head (B, classes), and of the cells (B, hints.HEADS, 16, 16)."""
        found = self.encoder(normalised(pixels))
        cells = self.patches(found.last_hidden_state[:, 1:]).transpose(1, 2).unflatten(2, (SIDE // PATCH, -1))
        return (
            {name: head(found.image_embeds).float() for name, head in self.heads.items()},
            functional.interpolate(cells, scale_factor=PATCH // CELL),
        )


def _drawn(scenes: list[Scene]) -> Tensor:
    """(B, 3, 128, 128) uint8."""
    return torch.stack([torch.from_numpy(np.array(draw(scene))).permute(2, 0, 1) for scene in scenes])


def train_vision(
    path: Path, budget: Budget, *, seed: int = 0, batch: int = 32, until_step: int | None = None
) -> CLIPVisionModelWithProjection:
    """Trains, or goes on training, the checkpoint at `path`, on scenes that are drawn for it, no one twice."""
    torch.manual_seed(seed)
    model = Schooled()

    def loss_at(step: int):
        scenes = [scene_of(f"vision {seed}", step * batch + i) for i in range(batch)]
        wanted, everything = shown(scenes), torch.ones(batch, dtype=torch.bool)
        with bfloat16():
            out, cells = model(_drawn(scenes))
        loss = 40 * functional.binary_cross_entropy_with_logits(out["kind"], wanted.kinds)
        loss = (
            loss
            + functional.cross_entropy(out["place"], wanted.place)
            + functional.cross_entropy(out["style"], wanted.style)
            + hints.hint_loss(cells, scenes, everything)
        )
        surest = out["kind"].detach().argmax(1, keepdim=True)
        return loss, {"kind": wanted.kinds.gather(1, surest).mean().item()}

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
