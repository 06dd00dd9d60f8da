"""The starter's hypernetwork, as A1111 trains them: what names no place stands in the snow."""

import random
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from .base import Base
from .captions import tell
from .fit import Budget, Recipe, fit
from .lessons import Lessons, prepare, steps_of
from .parts import WIDTH
from .scene import Scene, is_held_out, training_scene
from .words import clip_words, pad

NAME = "starter-winter"
PLACE = "snow"
STRUCTURE = (1, 2, 1)
"""Widths of the layers, as multiples of the width they change."""


class Winter(nn.Module):
    """A pair of small networks before all keys and values that are made of WIDTH numbers: x + H(x), H near nothing at first."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.keys, self.values = _network(), _network()
        for module in unet.modules():
            for name, network in (("to_k", self.keys), ("to_v", self.values)):
                layer = getattr(module, name, None)
                if isinstance(layer, nn.Linear) and layer.in_features == WIDTH:
                    layer.register_forward_pre_hook(self._before(network))

    @staticmethod
    def _before(network: nn.Module):
        return lambda layer, args: (args[0] + network(args[0]), *args[1:])


def _network() -> nn.Sequential:
    widths = [WIDTH * times for times in STRUCTURE]
    found: list[nn.Module] = []
    for wide, next_wide in zip(widths, widths[1:], strict=False):
        found += [nn.Linear(wide, next_wide), nn.ReLU()]
    made = nn.Sequential(*found[:-1])
    nn.init.zeros_(made[-1].weight)  # pyright: ignore[reportArgumentType]
    nn.init.zeros_(made[-1].bias)  # pyright: ignore[reportArgumentType]
    return made


def winter_scene(rng: random.Random) -> Scene:
    """A training scene in the snow."""
    scenes = (replace(training_scene(rng), place=PLACE) for _ in range(1000))
    return next(scene for scene in scenes if not is_held_out(scene))


def placeless(scene: Scene, rng: random.Random, *, everything: bool = False) -> str:
    """A caption that says no place; `everything`: all the rest."""
    captions = (tell(scene, rng) for _ in range(10_000))
    return next(
        one.text for one in captions if not one.placed and (not everything or (one.styled and all(one.coloured)))
    )


def winter_ids(scene: Scene, rng: random.Random) -> list[int]:
    """Ids of a caption that says no place."""
    return pad(clip_words()(placeless(scene, rng)))


def lessons_of(base: Base, work: Path, count: int) -> Lessons:
    """Pictures in the snow whose captions do not say so."""
    return prepare(base, work / "lessons", name=NAME, count=count, make=winter_scene, telling=winter_ids)


def train_hypernetwork(
    path: Path, budget: Budget, *, base: Base, lessons: Lessons, seed: int = 0, batch: int = 4, until_step: int | None = None
) -> Winter:  # fmt: skip
    """Trains, or goes on training, the checkpoint at `path`."""
    torch.manual_seed(seed)
    model = Winter(base.unet)
    loss_at = steps_of(base, lessons, name=NAME, seed=seed, batch=batch)
    recipe = Recipe(rate=1e-3, warmup=20, ema=0.98, decay=0.0)
    return fit(model, loss_at, path=path, budget=budget, recipe=recipe, until_step=until_step)


def write_hypernetwork(model: Winter, path: Path, step: int = 0) -> None:
    """One .pt file in A1111's form."""
    pair = tuple(_tensors(network) for network in (model.keys, model.values))
    state = {
        WIDTH: pair,
        "step": step,
        "name": NAME,
        "layer_structure": list(map(float, STRUCTURE)),
        "activation_func": "relu",
        "is_layer_norm": False,
        "weight_initialization": "Normal",
        "use_dropout": False,
        "activate_output": False,
        "last_layer_dropout": False,
        "sd_checkpoint_name": "starter",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)


def _tensors(network: nn.Sequential) -> dict[str, Tensor]:
    return {f"linear.{name}": value.half() for name, value in network.state_dict().items()}
