"""What a ControlNet of the checkpoint's size adds to a step: pictures with it and without it in turn, by the time of their guided calls.

plain, with     a guided step, the median
share           median of the ratios less 1, each of two pictures drawn one after the other
reckoned        operations of the ControlNet for those of the U-Net, as PyTorch counts them: what the share comes to where both are
                computed equally fast
"""

import io
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from modules.bench.drawing import Drawing
from modules.bench.seeded import draw
from modules.bench.subject import Subject
from modules.bench.table import NAME, Column, Row, Table
from modules.devices.choice import Compute
from modules.families.alterable import Alterable
from modules.families.model import LoadedModel
from modules.merging.writer import Form, Writer
from modules.requests.pictures import Picture

CONTROL = "ControlNet"
FILE = "bench-control"
COLUMNS = (
    replace(NAME, label="computed in"),
    Column(name="plain", label="step without", form="{:.2f} s"),
    Column(name="with", label="step with", form="{:.2f} s"),
    Column(name="share", label="ControlNet's share", form="{:.0%}"),
    Column(name="reckoned", label="by operations", form="{:.1%}"),
    Column(name="wanted", label="wanted", form="{:.0%}"),
)


def table(subject: Subject, computes: list[Compute]) -> Table:
    """A row for each way to compute."""
    rows = (row(subject, compute) for compute in computes)
    return Table(name="control", title=f"A ControlNet: {subject.title}", columns=COLUMNS, rows=rows)


def row(subject: Subject, compute: Compute) -> Row:
    """The figures of one runtime."""
    folder, model = subject.folder / "control", Drawing(subject, compute).load()
    reckoned = operations(model, subject.base["width"] // 8, subject.base["height"] // 8)
    if not (folder / f"{FILE}.safetensors").exists():
        write_control(folder / f"{FILE}.safetensors", model)
    del model
    drawing = Drawing(replace(subject, paths=replace(subject.paths, named=((CONTROL, folder),))), compute)
    unit = {"model": FILE, "image": _picture(subject.base["width"], subject.base["height"])}

    def step(*units: Mapping[str, object]) -> float:
        return drawing.draw(0, {"control": units}).calls / subject.steps

    for units in ((), (unit,)):  # to have all read
        step(*units)
    turns = [(step(), step(unit)) for _ in range(subject.rounds)]
    drawing.unload()
    return {
        "name": compute.words,
        "plain": statistics.median(plain for plain, _ in turns),
        "with": statistics.median(both for _, both in turns),
        "share": statistics.median(both / plain for plain, both in turns) - 1,
        "reckoned": reckoned,
        "wanted": 0.35,
    }


def write_control(path: Path, model: LoadedModel) -> None:
    """A ControlNet of seeded random weights beside the model's U-Net, in diffusers' layout, as float16."""
    shapes = dict(control_shapes(model))
    path.parent.mkdir(parents=True, exist_ok=True)
    forms: dict[str, Form] = {name: (torch.float16, shape) for name, shape in shapes.items()}
    with Writer(path, path.with_suffix(".part"), forms, {}) as writer:
        for name in writer.names:
            writer.write(draw(name, shapes[name], 0).half())


def control_shapes(model: LoadedModel) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of its tensors."""
    _, module = _empty(model)
    yield from ((name, tuple(tensor.shape)) for name, tensor in module.named_parameters())


def operations(model: LoadedModel, width: int, height: int) -> float:
    """Those of the ControlNet for those of the U-Net, at latents of that size."""
    unet, module = _empty(model)
    with torch.device("meta"), torch.inference_mode():
        call = torch.empty(2, 4, height, width), torch.empty(2), torch.empty(2, 77, unet.config.cross_attention_dim)
        with FlopCounterMode(display=False) as alone:
            unet(*call)
        with FlopCounterMode(display=False) as beside:
            module(*call, torch.empty(2, 3, 8 * height, 8 * width))
    return beside.get_total_flops() / alone.get_total_flops()


def _empty(model: LoadedModel) -> tuple[Any, Any]:
    """The U-Net and a ControlNet beside it, without memory."""
    from diffusers.models.controlnets.controlnet import ControlNetModel

    backbone = model.backbone
    with torch.inference_mode():  # as its weights were read
        unet: Any = backbone.skeleton if isinstance(backbone, Alterable) else backbone
    with torch.device("meta"):
        unet = type(unet).from_config(unet.config)
        return unet, ControlNetModel.from_unet(unet, load_weights_from_unet=False)


def _picture(width: int, height: int) -> Picture:
    """Rings, as a control map."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rings: Tensor = ((x - width / 2).square() + (y - height / 2).square()).sqrt() % 32 < 2
    buffer = io.BytesIO()
    Image.fromarray((rings * 255).byte().numpy()).save(buffer, "PNG")
    return Picture.of(buffer.getvalue())
