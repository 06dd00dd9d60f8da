"""Draws with each of the starter's networks and without it, and has readers judge what it changed.

python -m modules.starter.evaluate_networks --number 50 --out outputs/starter-networks
"""

import argparse
import random
import tempfile
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from modules.core.paths import ROOT

from . import embedding, hypernetwork, lora, style
from .captions import tell
from .embedding import mascot_text
from .evaluate import READER, contact_sheet
from .hypernetwork import placeless
from .judge import judge
from .measure_control import Keep, Rows, measure_canny, measure_prompt, measure_scribble
from .program import Program
from .reader import Reader, load_reader, read
from .scene import Scene, test_scene
from .train_networks import STYLE_READER


def measure_lora(program: Program, reader: Reader, number: int, keep: Keep) -> Rows:
    """Held-out things in the LoRA's style: is the style read, and what was asked for besides?"""
    scenes = _scenes("lora", number)
    prompts = [
        tell(replace(scene, style=lora.STYLE), random.Random(i), everything=True).text for i, scene in enumerate(scenes)
    ]
    head = style.load_style(STYLE_READER, reader)
    rows: Rows = {}
    for weight in (1, 0):
        pixels = program.pixels([f"{prompt} <lora:starter-parchment:{weight}>" for prompt in prompts], seed=1)
        keep(f"lora-{weight}", pixels, prompts)
        named = head(pixels).argmax(1) == style.READ.index(lora.STYLE)
        rows[f"LoRA, weight {weight}: its style"] = named.float().mean().item()
        if weight:
            verdicts = [judge(scene, seen) for scene, seen in zip(scenes, read(reader, pixels), strict=True)]
            rows["LoRA, weight 1: kind"] = _mean(one.kind for one in verdicts)
            rows["LoRA, weight 1: colour"] = _mean(one.colour for one in verdicts)
    return rows


def measure_embedding(program: Program, reader: Reader, number: int, keep: Keep) -> Rows:
    """Captions with the word, and the same with no thing named: is the mascot there?"""
    rng = random.Random("embedding")
    scenes = [embedding.mascot_scene(rng) for _ in range(number)]
    rows: Rows = {}
    for title, word in (("the word", embedding.WORD), ("without", "")):
        prompts = [mascot_text(scene, random.Random(i), word) for i, scene in enumerate(scenes)]
        pixels = program.pixels(prompts, seed=1)
        keep(f"embedding-{bool(word):d}", pixels, prompts)
        seen = [{(one.kind, one.colour) for one in reading.things} for reading in read(reader, pixels)]
        rows[f"embedding, {title}: its kind"] = _mean(any(kind == embedding.KIND for kind, _ in one) for one in seen)
        rows[f"embedding, {title}: its kind in its colour"] = _mean(
            (embedding.KIND, embedding.COLOUR) in one for one in seen
        )
    return rows


def measure_hypernetwork(program: Program, reader: Reader, number: int, keep: Keep) -> Rows:
    """Captions that say no place: is it snow, and is the rest as told?"""
    scenes = _scenes("hypernetwork", number)
    prompts = [placeless(scene, random.Random(i), everything=True) for i, scene in enumerate(scenes)]
    rows: Rows = {}
    for weight in (1, 0):
        tag = f" <hypernet:{hypernetwork.NAME}:{weight}>" if weight else ""
        pixels = program.pixels([prompt + tag for prompt in prompts], seed=1)
        keep(f"hypernetwork-{weight}", pixels, prompts)
        readings = read(reader, pixels)
        rows[f"hypernetwork, {weight}: in the snow"] = _mean(one.place == hypernetwork.PLACE for one in readings)
        rows[f"hypernetwork, {weight}: kind"] = _mean(
            judge(s, one).kind for s, one in zip(scenes, readings, strict=True)
        )
    return rows


MEASURES = {
    "lora": measure_lora, "embedding": measure_embedding, "hypernetwork": measure_hypernetwork, "canny": measure_canny, "scribble": measure_scribble,
    "adapter": measure_prompt,
}  # fmt: skip


def _scenes(name: str, number: int) -> list[Scene]:
    rng = random.Random(f"evaluation {name}")
    return [test_scene(rng, count=1) for _ in range(number)]


def _mean(values) -> float:
    found = [float(value) for value in values]
    return sum(found) / len(found)


def table(rows: Rows) -> str:
    """Markdown, percentages."""
    return "\n".join(
        ["| network | read in |", "|---|---:|", *(f"| {name} | {100 * share:.1f} % |" for name, share in rows.items())]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(MEASURES)}; all if none is named"
    )
    parser.add_argument("--number", type=int, default=50, help="pictures a trial")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "starter-networks")
    args = parser.parse_args()
    if unknown := [name for name in args.networks if name not in MEASURES]:
        parser.error(f'"{unknown[0]}" is no network; there are {", ".join(MEASURES)}')
    args.out.mkdir(parents=True, exist_ok=True)

    def keep(name: str, pixels: Tensor, prompts: list[str]) -> None:
        contact_sheet(pixels[:24], prompts[:24], columns=8).save(args.out / f"{name}.png")

    rows: Rows = {}
    with tempfile.TemporaryDirectory() as data:
        program, reader = Program(Path(data)), load_reader(READER)
        for name in args.networks or MEASURES:
            rows |= MEASURES[name](program, reader, args.number, keep)
            print(table(rows), flush=True)
    (args.out / "table.md").write_text(table(rows) + "\n")


if __name__ == "__main__":
    main()
