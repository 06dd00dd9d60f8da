"""The starter's LoRA (arXiv:2106.09685): a sixth style, parchment, as kohya's trainers write it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn

from .base import Base
from .captions import tell
from .draw import draw_parchment
from .fit import Budget, Recipe, fit
from .lessons import Lessons, prepare, steps_of
from .scene import Scene, training_scene
from .words import clip_words, pad

STYLE = "parchment"
RANK = 8
PREFIX = "lora_unet_"


class Lora(nn.Module):
    """Beside every linear layer and convolution inside the U-Net's blocks: up(down(x)), nothing at first."""

    def __init__(self, unet: UNet2DConditionModel, rank: int = RANK) -> None:
        super().__init__()
        self.down, self.up = nn.ModuleDict(), nn.ModuleDict()
        for path, layer in unet.named_modules():
            if path.startswith(("down_blocks", "mid_block", "up_blocks")) and isinstance(layer, nn.Linear | nn.Conv2d):
                name = path.replace(".", "_")
                down, up = _pair(layer, rank)
                self.down[name], self.up[name] = down, up
                nn.init.zeros_(up.weight)
                layer.register_forward_hook(self._beside(name))

    def _beside(self, name: str):
        return lambda layer, args, out: out + self.up[name](self.down[name](args[0]))

    def tensors(self) -> dict[str, Tensor]:
        """Under kohya's names; alpha is the rank, so that up(down(x)) counts whole."""
        found = {}
        for name, down in self.down.items():
            weight: Any = down.weight
            found[f"{PREFIX}{name}.lora_down.weight"] = weight
            found[f"{PREFIX}{name}.lora_up.weight"] = self.up[name].weight
            found[f"{PREFIX}{name}.alpha"] = torch.tensor(float(len(weight)))
        return {name: value.detach().half().contiguous() for name, value in found.items()}


def _pair(layer: nn.Linear | nn.Conv2d, rank: int) -> tuple[nn.Linear, nn.Linear] | tuple[nn.Conv2d, nn.Conv2d]:
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=False)
    down = nn.Conv2d(layer.in_channels, rank, layer.kernel_size, layer.stride, layer.padding, bias=False)  # pyright: ignore
    return down, nn.Conv2d(rank, layer.out_channels, 1, bias=False)


def parchment_scene(rng) -> Scene:
    """A training scene in the new style."""
    return replace(training_scene(rng), style=STYLE)


def lessons_of(base: Base, work: Path, count: int) -> Lessons:
    """Scenes in the new style, its words said or not."""
    return prepare(
        base, work / "lessons", name=STYLE, count=count, make=parchment_scene, paint=draw_parchment,
        telling=lambda scene, rng: pad(clip_words()(tell(scene, rng).text)),
    )  # fmt: skip


def train_lora(
    path: Path, budget: Budget, *, base: Base, lessons: Lessons, seed: int = 0, batch: int = 4, until_step: int | None = None
) -> Lora:  # fmt: skip
    """Trains, or goes on training, the checkpoint at `path`."""
    torch.manual_seed(seed)
    model = Lora(base.unet)
    loss_at = steps_of(base, lessons, name=STYLE, seed=seed, batch=batch)
    recipe = Recipe(rate=2e-3, warmup=20, ema=0.98, decay=0.0)
    return fit(model, loss_at, path=path, budget=budget, recipe=recipe, until_step=until_step)


def write_lora(model: Lora, path: Path) -> None:
    """One file for `<lora:...>`."""
    metadata = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(RANK),
        "ss_base_model_version": "sd_v1",
        "ss_sd_model_name": "starter.safetensors",
        "ss_tag_frequency": json.dumps({STYLE: {STYLE: 1}}),
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.title": "starter-parchment",
        "modelspec.trigger_phrase": STYLE,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(model.tensors(), path, metadata=metadata)
