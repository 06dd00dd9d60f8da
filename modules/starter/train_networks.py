"""Trains the starter's small networks, each from its own pictures; started again, it goes on where it was.

python -m modules.starter.train_networks lora --work DIR [--minutes 10]
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from modules.core.paths import ROOT

from . import adapter, embedding, hypernetwork, lora, meaning, style, vision
from .base import load_base
from .evaluate import CHECKPOINT, READER
from .fit import Budget, trained
from .lessons import prepare, scene_of
from .reader import load_reader
from .train_control import LESSONS as CONTROL

MODELS = ROOT / "models"
LORA = MODELS / "Lora" / "starter-parchment.safetensors"
EMBEDDING = MODELS / "embeddings" / f"{embedding.WORD}.safetensors"
STYLE_READER = MODELS / "starter" / "style-reader.safetensors"
VISION = MODELS / "clip_vision" / "starter-vision.safetensors"
MEANING = MODELS / "starter" / "meaning.safetensors"
ADAPTER = MODELS / "ControlNet" / "starter-ip-adapter.safetensors"
HYPERNETWORK = MODELS / "hypernetworks" / f"{hypernetwork.NAME}.pt"


@dataclass(frozen=True, kw_only=True)
class Course:
    """How one network is taught in a folder of checkpoints, and how it is written to `out`."""

    train: Callable[[Path, Budget, Any], nn.Module]
    write: Callable[[Any, Path], None]
    out: Path


def _style(work: Path, budget: Budget, args: Any) -> nn.Module:
    return style.train_style(work / "style.pt", budget, reader=load_reader(READER), seed=args.seed)


def _of(module: Any, name: str) -> Callable[..., nn.Module]:
    """Training on lessons of the network's own."""

    def train(work: Path, budget: Budget, args: Any) -> nn.Module:
        base = load_base(CHECKPOINT)
        lessons = module.lessons_of(base, work, args.scenes)
        return getattr(module, f"train_{name}")(work / f"{name}.pt", budget, base=base, lessons=lessons, seed=args.seed)

    return train


def _vision(work: Path, budget: Budget, args: Any) -> nn.Module:
    return vision.train_vision(work / "vision.pt", budget, seed=args.seed)


def _adapter(work: Path, budget: Budget, args: Any) -> nn.Module:
    base = load_base(CHECKPOINT)
    lessons = prepare(base, work / "lessons", name=CONTROL, count=args.scenes)
    eyes = trained(vision.Schooled(), work / "vision.pt").encoder
    return adapter.train_adapter(work / "adapter.pt", budget, base=base, vision=eyes, lessons=lessons, seed=args.seed)


def _meaning(work: Path, budget: Budget, args: Any) -> nn.Module:
    lessons = prepare(load_base(CHECKPOINT), work / "lessons", name=CONTROL, count=args.scenes)
    eyes = trained(vision.Schooled(), work / "vision.pt").encoder
    scene_at = partial(scene_of, CONTROL)
    return meaning.train_meaning(
        work / "meaning.pt", budget, vision=eyes, lessons=lessons, scene_at=scene_at, seed=args.seed
    )


COURSES = {
    "lora": Course(train=_of(lora, "lora"), write=lora.write_lora, out=LORA),
    "embedding": Course(train=_of(embedding, "embedding"), write=embedding.write_embedding, out=EMBEDDING),
    "hypernetwork": Course(
        train=_of(hypernetwork, "hypernetwork"), write=hypernetwork.write_hypernetwork, out=HYPERNETWORK
    ),
    "style": Course(train=_style, write=style.write_style, out=STYLE_READER),
    "vision": Course(train=_vision, write=vision.write_vision, out=VISION),
    "meaning": Course(train=_meaning, write=meaning.write_meaning, out=MEANING),
    "adapter": Course(train=_adapter, write=adapter.write_adapter, out=ADAPTER),
}
"""The adapter and the meaning need the vision before them, and the evaluation of the LoRA the style reader."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=COURSES)
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints, kept between runs")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--steps", type=int, help="end after so many steps, if that is sooner")
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    course = COURSES[args.network]
    course.write(course.train(args.work, Budget(minutes=args.minutes, steps=args.steps), args), course.out)
    print(f"{course.out}: {course.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
