"""Draws prompts that training never saw with the program's own loader and sampler, and has the reader judge the pictures.

python -m modules.starter.evaluate --number 500 --out outputs/starter-evaluation
"""

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from modules.core.paths import ROOT
from modules.devices.choice import choose_compute, quick_cpu
from modules.engine.quantising import quantised
from modules.families import sd1
from modules.families.model import LoadedModel
from modules.families.source import Source
from modules.families.weights import read_weights
from modules.sampling.guidance import Guided
from modules.sampling.noise import NoiseSource
from modules.sampling.registry import build_samplers
from modules.sampling.schedules import build_schedules

from .captions import tell
from .draw import draw
from .judge import Verdict, judge, means
from .reader import Reader, load_reader, read
from .scene import Scene, test_scene
from .train_autoencoder import to_tensor

CHECKPOINT = ROOT / "models" / "Stable-diffusion" / "starter.safetensors"
READER = ROOT / "models" / "starter" / "reader.safetensors"


def draw_prompts(
    model: LoadedModel, prompts: Sequence[str], *, steps: int, scale: float, seed: int, batch: int = 10, sampler: str = "Euler", schedule: str = "Automatic",
) -> Tensor:  # fmt: skip
    """One picture a prompt, seeds counting up from `seed`: (N, 3, 128, 128) in [-1, 1]."""
    chosen = build_samplers().get(sampler)
    label = chosen.entry.schedule if schedule == "Automatic" else schedule
    sigmas = chosen.sigmas(steps, build_schedules().get(label), model.levels).to(model.compute.device)
    side = model.native_size // model.downscale
    pictures = []
    for first in range(0, len(prompts), batch):
        texts = prompts[first : first + batch]
        noise = NoiseSource(
            range(seed + first, seed + first + len(texts)), (4, side, side), device=model.compute.device
        )
        told, untold = model.prompts.encode(texts), model.prompts.encode([""] * len(texts))
        with torch.inference_mode():
            guided = Guided(model.denoiser(), told, untold, scale=scale)
            latents = chosen.sample(guided, noise.first() * sigmas[0], sigmas, noise_sampler=noise.sampler)
            pictures.append(model.decode(latents) * 2 - 1)
    return torch.cat(pictures)


def prompts_for(number: int, seed: int) -> tuple[list[Scene], list[str]]:
    """Scenes of held-out combinations, one and two things by turns, and a whole caption of each."""
    rng = random.Random(f"evaluation {seed}")
    scenes = [test_scene(rng, count=1 + i % 2) for i in range(number)]
    return scenes, [tell(scene, rng, everything=True).text for scene in scenes]


def verdicts(reader: Reader, scenes: Sequence[Scene], pixels: Tensor) -> list[Verdict]:
    """The reader's judgement of each picture."""
    readings = [one for part in pixels.split(50) for one in read(reader, part)]
    return [judge(scene, reading) for scene, reading in zip(scenes, readings, strict=True)]


def table(rows: dict[str, dict[str, float]]) -> str:
    """Markdown: one row a trial, percentages."""
    names = ("kind", "colour", "place", "style", "both", "related", "nothing_else")
    heads = ("kind", "colour", "place", "style", "both things", "both and relation", "nothing else")
    lines = ["| pictures | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    lines += [
        f"| {title} | " + " | ".join(f"{100 * row[name]:.1f}" for name in names) + " |" for title, row in rows.items()
    ]
    return "\n".join(lines)


def contact_sheet(pixels: Tensor, prompts: Sequence[str], *, columns: int = 6) -> Image.Image:
    """Pictures in rows with their prompts under them."""
    side, text = pixels.shape[-1], 44
    rows = -(-len(prompts) // columns)
    page = Image.new("RGB", (columns * (side + 8), rows * (side + text)), "white")
    pen = ImageDraw.Draw(page)
    for i, (picture, prompt) in enumerate(zip(pixels, prompts, strict=True)):
        x, y = 4 + i % columns * (side + 8), 4 + i // columns * (side + text)
        array = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        page.paste(Image.fromarray(array), (x, y))
        pen.multiline_text((x, y + side + 2), wrapped(pen, prompt, side), fill="black", spacing=1, font_size=9)
    return page


def wrapped(pen: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """`text` broken into lines of at most `width` pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if pen.textlength(longer, font_size=9) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=500, help="prompts")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--sampler", default="Euler")
    parser.add_argument("--scheduler", default="Automatic")
    parser.add_argument(
        "--cpu-precision", choices=["auto", "fp32", "bf16", "int8"], help="through OpenVINO, as app.py's flag"
    )
    parser.add_argument("--only", action="store_true", help="leave out the trials at CFG 1 and with shuffled prompts")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "starter-evaluation")
    args = parser.parse_args()

    compute = choose_compute(use_cpu=True)
    if args.cpu_precision:
        compute = quick_cpu(compute, args.cpu_precision, ROOT / "cache" / "openvino")
    source = Source(tensors=read_weights(args.checkpoint), name="starter", native_size=128, compute=compute, tell=print)
    model = quantised(sd1.load(source), print)
    reader = load_reader(READER)
    scenes, prompts = prompts_for(args.number, args.seed)
    options = {
        "steps": args.steps,
        "seed": args.seed,
        "batch": args.batch,
        "sampler": args.sampler,
        "schedule": args.scheduler,
    }

    rows = {
        "drawn by code (the reader's own accuracy)": means(
            verdicts(reader, scenes, to_tensor([draw(scene) for scene in scenes]))
        )
    }
    start = time.monotonic()
    pixels = draw_prompts(model, prompts, scale=args.cfg, **options)
    print(f"{args.number} pictures in {time.monotonic() - start:.0f} s", flush=True)
    rows[f"the model, CFG {args.cfg:g}"] = means(verdicts(reader, scenes, pixels))
    args.out.mkdir(parents=True, exist_ok=True)
    contact_sheet(pixels[:48], prompts[:48], columns=8).save(args.out / "sheet.png")
    if not args.only:
        rows["the model, CFG 1"] = means(verdicts(reader, scenes, draw_prompts(model, prompts, scale=1.0, **options)))
        rows[f"the model, CFG {args.cfg:g}, prompts shuffled"] = means(
            verdicts(reader, scenes[8:] + scenes[:8], pixels)
        )
    text = table(rows)
    (args.out / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
