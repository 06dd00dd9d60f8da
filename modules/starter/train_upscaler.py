"""Trains the starter's upscalers, twice and four times larger, on drawn pictures; started again, it goes on where it was.

python -m modules.starter.train_upscaler --work DIR [--stages x2,x4,export,evaluate]
"""

import argparse
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from modules.core.paths import ROOT

from .draw import CANVAS, draw
from .fit import Budget, Recipe, fit, trained
from .scene import Scene, test_scene, training_scene

FOLDER = ROOT / "models" / "ESRGAN"
FACTORS = (2, 4)
STAGES = ("x2", "x4", "export", "evaluate")
FEATURES, CONVOLUTIONS = 32, 10
EDGE = 0.1
"""Steps between neighbours above which a pixel of the true picture is one of its edges."""


def make_upscaler(factor: int) -> Any:
    """An untrained network in the compact layout of Real-ESRGAN; it adds to the picture's pixels made larger."""
    from spandrel.architectures.Compact import Compact

    return Compact(num_feat=FEATURES, num_conv=CONVOLUTIONS, upscale=factor)


def pair(scene: Scene, factor: int) -> tuple[Image.Image, Image.Image]:
    """A drawn picture reduced by `factor` as drawing itself reduces, and the picture."""
    true = draw(scene, CANVAS)
    side = CANVAS // factor
    return true.resize((side, side), Image.Resampling.BOX), true


def to_pixels(image: Image.Image) -> Tensor:
    """(3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def crops(rng: random.Random, factor: int, count: int, side: int) -> tuple[Tensor, Tensor]:
    """Parts of reduced pictures, `side` pixels square, two of each, and of the pictures: (count, 3, h, w) each, in [0, 1]."""
    small, large = [], []
    for _ in range(count // 2):
        low, true = (to_pixels(image) for image in pair(training_scene(rng), factor))
        for _ in range(2):
            x, y = (rng.randint(0, low.shape[-1] - side) for _ in range(2))
            turn = rng.randrange(4)
            part = true[:, y * factor : (y + side) * factor, x * factor : (x + side) * factor]
            small.append(low[:, y : y + side, x : x + side].rot90(turn, (1, 2)))
            large.append(part.rot90(turn, (1, 2)))
    return torch.stack(small), torch.stack(large)


def train(path: Path, budget: Budget, *, factor: int, start: Path | None = None, seed: int = 0, batch: int = 8) -> Any:
    """Trains, or goes on training, the checkpoint at `path`; a new one begins with the layers of the one at `start`."""
    torch.manual_seed(seed)
    model = make_upscaler(factor)
    if start is not None and start.exists():
        layers = torch.load(start, weights_only=True)["average"]
        same = {name: value for name, value in layers.items() if value.shape == model.state_dict()[name].shape}
        model.load_state_dict(same, strict=False)

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        low, true = crops(random.Random(f"{seed}/{factor}/{step}"), factor, batch, side=96 // factor)
        made = model(low)
        loss = (made - true).abs().mean()
        edges = sum((made.diff(dim=axis) - true.diff(dim=axis)).abs().mean() for axis in (-1, -2))
        return loss + edges, {"l1": loss.item(), "psnr": psnr(made.detach(), true)}

    return fit(model, loss_at, path=path, budget=budget, recipe=Recipe(rate=2e-3, warmup=50, ema=0.995))


def psnr(made: Tensor, true: Tensor) -> float:
    """Peak signal to noise in decibels, of pixels in [0, 1]."""
    return float(-10 * (made.clamp(0, 1) - true).square().mean().clamp_min(1e-10).log10())


def sharpness(made: Tensor, true: Tensor) -> float:
    """How steep the edges of the true picture are in the made one, as a part of what they are in it."""
    found = wanted = 0.0
    for axis in (-1, -2):
        steps = true.diff(dim=axis)
        there = steps.abs() > EDGE
        found += float((made.diff(dim=axis) * steps.sign())[there].sum())
        wanted += float(steps.abs()[there].sum())
    return found / wanted


@torch.inference_mode()
def evaluate(factor: int, number: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """PSNR and sharpness, means over pictures of combinations that training never saw, of Lanczos and of the written network."""
    model = make_upscaler(factor)
    model.load_state_dict({name: value.float() for name, value in load_file(file_of(factor)).items()})
    rng, found = random.Random(f"upscaler evaluation {seed}"), {"Lanczos": [], file_of(factor).stem: []}
    for _ in range(number):
        low, image = pair(test_scene(rng), factor)
        true = to_pixels(image)
        large = {
            "Lanczos": to_pixels(low.resize(image.size, Image.Resampling.LANCZOS)),
            file_of(factor).stem: model(to_pixels(low)[None])[0].clamp(0, 1),
        }
        for name, made in large.items():
            found[name].append((psnr(made, true), sharpness(made, true)))
    return {
        name: (sum(p for p, _ in pairs) / number, sum(s for _, s in pairs) / number) for name, pairs in found.items()
    }


def file_of(factor: int) -> Path:
    """Where that network is written."""
    return FOLDER / f"starter-x{factor}.safetensors"


def export(work: Path, factor: int) -> None:
    """Writes what has been trained, in float16."""
    model = trained(make_upscaler(factor), work / f"x{factor}.pt")
    metadata = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": f"Atelier starter x{factor}",
        "modelspec.architecture": "Real-ESRGAN compact",
        "modelspec.description": f"Makes pictures of the starter's world {factor} times larger (modules/starter).",
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    weights = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, file_of(factor), metadata=metadata)
    print(f"{file_of(factor).name}: {file_of(factor).stat().st_size / 1e6:.2f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints, kept between runs")
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--minutes", type=float, default=30.0, help="of each training stage")
    parser.add_argument("--number", type=int, default=200, help="pictures to evaluate with")
    args = parser.parse_args()
    for stage in args.stages.split(","):
        if stage not in STAGES:
            parser.error(f'"{stage}" is no stage; there are {", ".join(STAGES)}')
        if stage.startswith("x"):
            factor = int(stage[1:])
            start = args.work / "x2.pt" if factor > 2 else None
            train(args.work / f"{stage}.pt", Budget(minutes=args.minutes), factor=factor, start=start)
            continue
        for factor in FACTORS:
            if stage == "export":
                export(args.work, factor)
                continue
            for name, (decibels, sharp) in evaluate(factor, args.number).items():
                print(f"x{factor}  {name}: PSNR {decibels:.2f} dB, edges {sharp:.1%} as sharp", flush=True)


if __name__ == "__main__":
    main()
