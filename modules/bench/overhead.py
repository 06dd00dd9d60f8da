"""What a whole picture takes beyond its steps and its decoding: text, plan, sampler, previews' upkeep, saving as PNG.

A picture is drawn by the engine as the flags of app.py have it; while that works, every guided call of the network is timed. Its
latents are decoded once more right after it. `beyond` is the whole against steps and decoding, the median of all pictures.
"""

import statistics
from collections.abc import Iterator
from dataclasses import replace

import torch

from modules.bench.drawing import Drawing
from modules.bench.subject import Subject
from modules.bench.table import NAME, Column, Row, Table, timed
from modules.core.flags import Flags
from modules.core.paths import Paths
from modules.devices.choice import Compute, choose_compute, quick_cpu

COLUMNS = (
    replace(NAME, label="computed in"),
    Column(name="whole", label="whole picture", form="{:.3f} s"),
    Column(name="steps", label="its steps", form="{:.3f} s"),
    Column(name="decoding", label="decoding", form="{:.3f} s"),
    Column(name="beyond", label="beyond them", form="{:.1%}"),
    Column(name="wanted", label="wanted", form="{:.0%}"),
)


def tables(subject: Subject) -> Iterator[Table]:
    """One of one row."""
    yield Table(name="overhead", title=f"A whole picture: {subject.title}", columns=COLUMNS, rows=measured(subject))


def measured(subject: Subject) -> Iterator[Row]:
    """The row."""
    compute = compute_for(subject.flags, subject.paths)
    drawing = Drawing(subject, compute)
    model = drawing.load()
    rows: list[tuple[float, float, float]] = []
    for number in range(-2, max(subject.rounds, 1)):
        drawn = drawing.draw(number)
        latents = drawn.latents.to(compute.device)
        with torch.inference_mode():
            decoding = timed(lambda latents=latents: model.decode(latents))
        if number >= 0:
            rows.append((drawn.whole, drawn.calls, decoding))
    yield {
        "name": compute.words,
        "whole": statistics.median(whole for whole, _, _ in rows),
        "steps": statistics.median(steps for _, steps, _ in rows),
        "decoding": statistics.median(decoding for _, _, decoding in rows),
        "beyond": statistics.median(whole / (steps + decoding) - 1 for whole, steps, decoding in rows),
        "wanted": 0.05,
    }


def compute_for(flags: Flags, paths: Paths) -> Compute:
    """What the program computes with under these flags."""
    compute = choose_compute(use_cpu=flags.use_cpu, precision=flags.precision)
    if compute.device.type == "cpu" and not flags.no_half:
        return quick_cpu(compute, flags.cpu_precision, paths.cache / "openvino")
    return compute
