"""Runtimes: a guided step in each, in turn with PyTorch in float32, which is what A1111 computes with on a CPU.

s per step      median of a call of the network with prompt and negative prompt
quicker by      median of the ratios to float32, each taken beside it
call            relative L2 of a call's answer to that of float32
latents         relative L2 of the final latents of whole pictures
pictures        their PSNR, of all pictures together
first           seconds to the first answer when nothing was prepared; whatever is kept on disk may be there
ready           the same again, with what the first time has left on disk
memory          of this process on a CPU, weights and the work of a step; on a GPU that of PyTorch
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from modules.bench.drawing import Drawing, apart, decibels, in_turn
from modules.bench.memory import held
from modules.bench.subject import Subject
from modules.bench.table import NAME, Column, Row, Table, ratio, timed
from modules.core.errors import UnknownName
from modules.core.flags import Flags
from modules.devices.choice import Compute, choose_compute, quick_cpu
from modules.families.compiled import CompiledUNet
from modules.families.model import LoadedModel

GB = 1e9
COLUMNS = (
    replace(NAME, label="runtime"),
    Column(name="seconds", label="s per step", form="{:.3f}"),
    Column(name="base", label="float32 meanwhile", form="{:.3f}"),
    Column(name="quicker", label="quicker by", form="{:.2f}"),
    Column(name="call", label="call", form="{:.4f}"),
    Column(name="latents", label="latents", form="{:.3f}"),
    Column(name="psnr", label="pictures", form="{:.1f} dB"),
    Column(name="first", label="first", form="{:.1f} s"),
    Column(name="ready", label="ready", form="{:.1f} s"),
    Column(name="memory", label="memory", form="{:.2f} GB"),
)
Inputs = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A way to compute; `of` makes it of the one in float32, what it keeps on disk in a folder. `compiles`, `fuses`: as Flags."""

    name: str
    of: Callable[[Compute, Path], Compute]
    compiles: bool = False
    fuses: bool = False


def _typed(name: str, dtype: torch.dtype, **more: bool) -> Runtime:
    return Runtime(name=name, of=lambda exact, folder: replace(exact, dtype=dtype, vae_dtype=dtype), **more)


ON_GPU = (
    _typed("float16", torch.float16),
    _typed("bfloat16", torch.bfloat16),
    _typed("float16, fused", torch.float16, fuses=True),
    _typed("float16, compiled", torch.float16, compiles=True),
)
ON_CPU = (
    Runtime(name="PyTorch bfloat16", of=lambda exact, folder: replace(exact, dtype=torch.bfloat16)),
    _typed("PyTorch float32, fused", torch.float32, fuses=True),
    _typed("PyTorch float32, compiled", torch.float32, compiles=True),
    *(
        Runtime(
            name=f"OpenVINO {precision}",
            of=lambda exact, folder, precision=precision: quick_cpu(exact, precision, folder / "openvino"),
        )
        for precision in ("fp32", "bf16", "int8")
    ),
)


def tables(subject: Subject) -> Iterator[Table]:
    """One, a row a runtime; raises UnknownName for one that is not of this device."""
    exact = exact_compute(subject.flags)
    known = {runtime.name: runtime for runtime in (ON_GPU if exact.device.type == "cuda" else ON_CPU)}
    unknown = next((name for name in subject.runtimes if name not in known), None)
    if unknown:
        raise UnknownName.among("--runtimes", unknown, known)
    chosen = [known[name] for name in subject.runtimes] or list(known.values())
    device = "GPU" if exact.device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    title = f"Runtimes: {subject.title}, {device}"
    yield Table(name="runtimes", title=title, columns=COLUMNS, rows=measured(subject, exact, chosen))


def exact_compute(flags: Flags) -> Compute:
    """PyTorch in float32, where these flags let it compute."""
    compute = choose_compute(use_cpu=flags.use_cpu)
    return replace(compute, dtype=torch.float32, vae_dtype=torch.float32, upcast=False)


def measured(subject: Subject, exact: Compute, runtimes: list[Runtime]) -> Iterator[Row]:
    """A row a runtime, in that order."""
    base = Drawing(subject, exact)
    model = base.load()
    inputs = inputs_of(model, subject)
    with torch.inference_mode():
        wanted = model.network(*inputs)
    for runtime in runtimes:
        compute = runtime.of(exact, subject.paths.cache)
        before = held(exact.device)
        drawing = Drawing(subject, compute, compiles=runtime.compiles, fuses=runtime.fuses)
        first = timed(lambda drawing=drawing: called(drawing.load(), inputs))
        memory = held(exact.device) - before
        drawing.unload()
        gc.collect()
        ready = timed(lambda drawing=drawing: called(drawing.load(), inputs))
        ours = drawing.load()
        turns = [(step(ours, inputs), step(model, inputs)) for _ in range(subject.rounds)]
        found = called(ours, inputs)
        pairs = list(in_turn(drawing.draw, base.draw, subject.pictures)) if subject.pictures else []
        yield {
            "name": told(runtime.name, ours, drawing.said),
            "seconds": statistics.median(own for own, _ in turns),
            "base": statistics.median(b for _, b in turns),
            "quicker": 1 / ratio(turns),
            "call": float((found - wanted).norm() / wanted.norm()),
            "latents": apart(pairs) if pairs else None,
            "psnr": (decibels(pairs) or "same") if pairs else None,
            "first": first,
            "ready": ready,
            "memory": memory / GB,
        }
        drawing.unload()
        del ours, found, drawing
        gc.collect()


def told(name: str, model: LoadedModel, said: list[str]) -> str:
    """The runtime's name, and what kept it from being that."""
    if model.compute.compiled and not isinstance(model.backbone, CompiledUNet):
        return f"{name} (PyTorch computed instead)"
    return f"{name} ({said[0]})" if said else name


def inputs_of(model: LoadedModel, subject: Subject) -> Inputs:
    """What a guided step asks the network: two rows in the middle of a picture."""
    base, device = subject.base, model.compute.device
    h, w = base["height"] // model.downscale, base["width"] // model.downscale
    channels = model.latent_channels + model.extra_channels
    x = torch.randn(1, channels, h, w, generator=torch.Generator().manual_seed(0)).repeat(2, 1, 1, 1)
    with torch.inference_mode():
        context = model.prompts.encode(["a red fox in the snow", "a"])
    return x.to(device), torch.full((2,), 500.0, device=device), context


def called(model: LoadedModel, inputs: Inputs) -> Tensor:
    """The network's answer, when it is there."""
    with torch.inference_mode():
        found = model.network(*inputs)
        found.flatten()[0].item()
    return found


def step(model: LoadedModel, inputs: Inputs) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    called(model, inputs)
    return time.perf_counter() - began
