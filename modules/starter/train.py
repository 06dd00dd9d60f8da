"""Trains the starter from nothing, stage by stage; started again, it goes on where it was.

python -m modules.starter.train --work DIR [--stages autoencoder,text,latents,unet,reader,polish,export]
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from .evaluate import CHECKPOINT, READER
from .export import export, fold
from .fit import Budget, trained
from .hints import Hinted
from .latents import encode_scenes, statistics
from .parts import make_autoencoder
from .train_autoencoder import polish, train_autoencoder
from .train_reader import train_reader
from .train_text import Schooled, train_text
from .train_unet import train_unet

MINUTES = {"autoencoder": 25.0, "text": 8.0, "unet": 100.0, "reader": 15.0, "polish": 20.0}
STAGES = ("autoencoder", "text", "latents", "unet", "reader", "polish", "export")


def run(stage: str, work: Path, *, minutes: float, scenes: int, seed: int) -> None:
    """One stage, from the files of those before it in `work`."""
    budget = Budget(minutes=minutes) if minutes else Budget(steps=1)
    if stage == "autoencoder":
        train_autoencoder(work / "autoencoder.pt", budget, seed=seed)
    elif stage == "text":
        train_text(work / "text.pt", budget, seed=seed)
    elif stage == "latents":
        encode_scenes(
            trained(make_autoencoder(), work / "autoencoder.pt"), work / "latents.pt", count=scenes, seed=seed
        )
    elif stage == "unet":
        text = trained(Schooled(), work / "text.pt").encoder
        autoencoder = trained(make_autoencoder(), work / "autoencoder.pt")
        train_unet(
            work / "unet.pt",
            budget,
            text=text,
            latents=torch.load(work / "latents.pt", weights_only=True),
            autoencoder=autoencoder,
            seed=seed,
        )
    elif stage == "reader":
        reader = train_reader(work / "reader.pt", budget, seed=seed)
        READER.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: value.half() for name, value in reader.state_dict().items()}, READER)
    elif stage == "polish":
        polish(work / "autoencoder.pt", work / "polished.pt", budget, seed=seed)
    else:
        write(work)


def write(work: Path) -> None:
    """The checkpoint from what has been trained."""
    polished = work / "polished.pt"
    autoencoder = trained(make_autoencoder(), polished if polished.exists() else work / "autoencoder.pt")
    text = trained(Schooled(), work / "text.pt").encoder
    fold(autoencoder, *statistics(torch.load(work / "latents.pt", weights_only=True)))
    export(CHECKPOINT, trained(Hinted(), work / "unet.pt").unet, autoencoder, text)
    print(f"{CHECKPOINT}: {CHECKPOINT.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints, kept between runs")
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--minutes", type=float, help="of each stage named, instead of its usual time")
    parser.add_argument("--scenes", type=int, default=32000, help="latents encoded")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for stage in args.stages.split(","):
        if stage not in STAGES:
            parser.error(f'"{stage}" is no stage; there are {", ".join(STAGES)}')
        run(stage, args.work, minutes=args.minutes or MINUTES.get(stage, 0), scenes=args.scenes, seed=args.seed)


if __name__ == "__main__":
    main()
