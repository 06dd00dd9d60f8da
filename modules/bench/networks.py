"""Changing networks: what a LoRA costs before the first step, on top of a picture of one step without it; of linear layers and
convolutions of one place alone, as most are, and of every convolution as well.

first           a LoRA that was not there yet, its file read
another         another one in its place
weight          the same one at another weight
same            the same one again, for the next picture: what it adds to a step
off             none again
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from modules.bench import control
from modules.bench.drawing import Drawing
from modules.bench.overhead import compute_for
from modules.bench.runtimes import exact_compute
from modules.bench.subject import Subject
from modules.bench.table import NAME, Column, Row, Table
from modules.core.paths import LORA
from modules.devices.choice import Compute
from modules.families.alterable import Alterable
from modules.families.model import LoadedModel

RANK = 64
LAYERS = {"linear layers": False, "all layers": True}
"""What is measured on, and whether larger convolutions are among it."""

COLUMNS = (
    replace(NAME, label="computed in"),
    Column(name="layers", label="LoRA on", form="{}"),
    Column(name="plain", label="picture of one step", form="{:.2f} s"),
    Column(name="first", label="first", form="{:+.2f} s"),
    Column(name="another", label="another", form="{:+.2f} s"),
    Column(name="weight", label="other weight", form="{:+.2f} s"),
    Column(name="same", label="same", form="{:+.2f} s"),
    Column(name="off", label="off", form="{:+.2f} s"),
)


def tables(subject: Subject) -> Iterator[Table]:
    """Two, in each a row for what the program computes with and one for PyTorch in float32."""
    title = f"Changing LoRAs of rank {RANK}: {subject.title}"
    yield Table(name="networks", title=title, columns=COLUMNS, rows=measured(subject))
    yield control.table(subject, computes(subject))


def measured(subject: Subject) -> Iterator[Row]:
    """The rows; two LoRAs are written beside the checkpoint's data."""
    subject = replace(subject, steps=1)
    for compute in computes(subject):
        for layers in LAYERS:
            yield row(subject, compute, layers)


def computes(subject: Subject) -> list[Compute]:
    """What the program computes with, and PyTorch in float32."""
    return list(dict.fromkeys((compute_for(subject.flags, subject.paths), exact_compute(subject.flags))))


def row(subject: Subject, compute: Compute, layers: str) -> Row:
    """The figures of one runtime and LoRAs on those layers."""
    drawing = Drawing(subject, compute)
    model = drawing.load()
    folder = subject.folder / "networks" / layers.split()[0]
    with torch.inference_mode():
        for number in (1, 2):
            write_lora(folder / f"bench{number}.safetensors", model, number, windows=LAYERS[layers])
    drawing = Drawing(replace(subject, paths=replace(subject.paths, named=((LORA, folder),))), compute)

    def whole(lora: str = "") -> float:
        return drawing.draw(0, {"prompt": f"a red apple {lora}"}).whole

    whole()
    plain = min(whole(), whole())
    asked = {"first": "bench1:1", "another": "bench2:1", "weight": "bench2:0.5", "same": "bench2:0.5"}
    times = {name: whole(f"<lora:{lora}>") for name, lora in asked.items()} | {"off": whole()}
    drawing.unload()
    more = {name: seconds - plain for name, seconds in times.items()}
    return {"name": compute.words, "layers": layers, "plain": plain, **more}


def write_lora(path: Path, model: LoadedModel, seed: int, *, windows: bool) -> None:
    """A LoRA in kohya's layout, as float16, for every linear layer of the U-Net's blocks and every convolution, or with no `windows`
    those of one place."""
    backbone = model.backbone
    module = backbone.skeleton if isinstance(backbone, Alterable) else backbone
    assert isinstance(module, nn.Module)
    tensors: dict[str, Tensor] = {}
    noise = torch.Generator().manual_seed(seed)
    for name, layer in module.named_modules():
        if name.startswith(("down_blocks.", "mid_block.", "up_blocks.")) and isinstance(layer, nn.Linear | nn.Conv2d):
            out, inner, *window = layer.weight.shape
            if not windows and any(side > 1 for side in window):
                continue
            part = f"lora_unet_{name.replace('.', '_')}"
            tensors[f"{part}.lora_down.weight"] = torch.randn(RANK, inner, *window, generator=noise).half() * 0.02
            tensors[f"{part}.lora_up.weight"] = (
                torch.randn(out, RANK, *[1] * len(window), generator=noise).half() * 0.02
            )
            tensors[f"{part}.alpha"] = torch.tensor(float(RANK))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
