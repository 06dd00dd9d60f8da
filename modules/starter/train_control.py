"""Trains the starter's ControlNets: edges (canny) and scribbles.

python -m modules.starter.train_control canny --work DIR [--minutes 60]

What is copied from the U-Net's deepest level, 4 by 4 cells, stays as it is: only the levels above it learn.
"""

import argparse
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from modules.core.paths import ROOT
from modules.starter.share import bfloat16

from .base import Base, load_base, noised
from .controls import canny, scribble
from .evaluate import CHECKPOINT
from .fit import Budget, Recipe, fit
from .lessons import Lessons, prepare, scene_of
from .words import tokenize

FOLDER = ROOT / "models" / "ControlNet"
KINDS = ("canny", "scribble")
SCENES = 4000
LESSONS = "control"
HINT = (16, 32, 48, 64)
"""Channels of the layers that take the control picture in."""

LOUD = 6.0
"""What white is on its way through the layers: SiLU leaves such numbers nearly as they are."""
SCHOOL = 0.05
"""Weight of what the head is asked, beside the noise's error."""

Controls = Callable[[list[int]], Tensor]


def make_control(unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet (arXiv:2302.05543) that copies the U-Net's way down; its zero convolutions change nothing yet."""
    made = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=HINT)
    carry_pixels(made.controlnet_cond_embedding)
    made.set_attn_processor(AttnProcessor())
    made.requires_grad_(True)
    for part in (made.down_blocks[-1], made.mid_block, made.time_embedding):
        part.requires_grad_(False)
    return made


@torch.no_grad()
def carry_pixels(taking: Any) -> None:
    """Starts the layers that take the control picture in with the first channel's 8 by 8 pixels of a cell on 64 channels:
    each halving puts four neighbours side by side. What remains random beside them, and the last layer, nothing yet, learn."""
    layers = [taking.conv_in, *taking.blocks]
    held = 1
    for layer in layers:
        times = 4 if layer.stride[0] == 2 else 1
        layer.weight[: held * times] = 0
        layer.bias[: held * times] = 0
        for channel in range(held):
            for phase in range(times):
                at = (1 + phase // 2, 1 + phase % 2)
                layer.weight[channel * times + phase, channel, at[0], at[1]] = LOUD if layer is taking.conv_in else 1.0
        held *= times


class Schooled(nn.Module):
    """The ControlNet with a head that exists for its training only: its first level must tell the latents without noise, so
    that the control is bound to places before the noise is predicted well (as hints.py does it)."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.control = make_control(unet)
        self.clean = nn.Conv2d(unet.config["block_out_channels"][0], 4, 1)
        self._level = torch.empty(0)
        self.control.down_blocks[0].register_forward_hook(self._keep)

    def _keep(self, block: nn.Module, inputs: Any, out: tuple[Tensor, tuple[Tensor, ...]]) -> None:
        self._level = out[1][0]

    def forward(self, x: Tensor, t: Tensor, states: Tensor, hint: Tensor) -> tuple[dict[str, Any], Tensor]:
        """What the U-Net is given beside its own, and the latents that the first level sees, (B, 4, 16, 16)."""
        extra = residuals(self.control, x, t, states, hint)
        level, self._level = self._level, torch.empty(0)
        return extra, self.clean(level)


def canny_of(lessons: Lessons) -> Controls:
    """The edges of the pictures."""

    def controls(chosen: list[int]) -> Tensor:
        return torch.from_numpy(np.stack([canny(lessons.pixels[i].permute(1, 2, 0).numpy()) for i in chosen]))

    return controls


def scribbles_of(work: Path, count: int) -> Controls:
    """Scribbles of the scenes, drawn once and kept."""
    path = work / "scribbles.pt"
    kept = torch.load(path, weights_only=True) if path.exists() else torch.empty(0, dtype=torch.uint8)
    if len(kept) < count:
        scenes = ((scene_of(LESSONS, i), random.Random(f"scribble {i}")) for i in range(count))
        kept = torch.from_numpy(np.stack([scribble(scene, rng) for scene, rng in scenes]))
        torch.save(kept, path)
    return lambda chosen: kept[chosen]


def as_hint(controls: Tensor) -> Tensor:
    """(B, H, W) uint8 -> (B, 3, H, W) in [0, 1]."""
    return (controls.float() / 255)[:, None].expand(-1, 3, -1, -1)


def residuals(
    control: ControlNetModel, x: Tensor, t: Tensor, states: Tensor, hint: Tensor, amount: float = 1.0
) -> dict[str, Any]:
    """What the U-Net is given beside its own: arguments of its forward."""
    down, middle = control(x, t, states, hint, conditioning_scale=amount, return_dict=False)
    return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}


def train_control(
    path: Path, budget: Budget, *, base: Base, lessons: Lessons, controls: Controls, start: Path | None = None, seed: int = 0,
    batch: int = 8, rate: float = 1e-3, save_seconds: float = 120, until_step: int | None = None,
) -> ControlNetModel:  # fmt: skip
    """Trains, or goes on training, the checkpoint at `path`; its first weights may be another's, at `start`: a checkpoint's or a
    ControlNet's of write_control."""
    torch.manual_seed(seed)
    model = Schooled(base.unet)
    if start and start.suffix == ".safetensors":
        model.control.load_state_dict({name: value.float() for name, value in load_file(start).items()})
    elif start:
        model.load_state_dict(torch.load(start, weights_only=True)["average"])
    empty = base.text(tokenize([""])).last_hidden_state

    def loss_at(step: int):
        rng, noise = random.Random(f"control {seed}/{step}"), torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = rng.sample(range(len(lessons.latents)), batch)
        states = lessons.told(chosen, rng)
        states[: int(batch / 8 + rng.random())] = empty
        latents, hint = lessons.latents[chosen].float(), as_hint(controls(chosen))
        noisy = noised(latents, noise, lowest=100)
        with bfloat16():
            extra, clean = model(noisy.x, noisy.t, states, hint)
            made = base.unet(noisy.x, noisy.t, states, **extra).sample
        loss, parts = noisy.loss(made)
        school = (clean.float() - latents).square().mean()
        return loss + SCHOOL * school, parts | {"school": school.item()}

    recipe = Recipe(rate=rate, warmup=40, ema=0.995, save_seconds=save_seconds)
    return fit(model, loss_at, path=path, budget=budget, recipe=recipe, until_step=until_step).control


def write_control(model: ControlNetModel, path: Path, kind: str) -> None:
    """The ControlNet under diffusers' names, float16."""
    tensors = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    metadata = {
        "modelspec.architecture": "stable-diffusion-v1/controlnet",
        "modelspec.title": f"starter-{kind}",
        "modelspec.description": f"For the starter's {kind} pictures (modules/starter).",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints, kept between runs")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--steps", type=int, help="end after so many steps, if that is sooner")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--start", type=Path, help="checkpoint or ControlNet of another kind to begin from")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    base = load_base(CHECKPOINT)
    lessons = prepare(base, args.work / "lessons", name=LESSONS, count=args.scenes)
    controls = canny_of(lessons) if args.kind == "canny" else scribbles_of(args.work, args.scenes)
    path, budget = args.work / f"{args.kind}.pt", Budget(minutes=args.minutes, steps=args.steps)
    made = train_control(path, budget, base=base, lessons=lessons, controls=controls, start=args.start, seed=args.seed)
    out = FOLDER / f"starter-{args.kind}.safetensors"
    write_control(made, out, args.kind)
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
