"""Tiers of memory: a step under each, in turn with all weights on the device, and the most that is on it.

weights     the most bytes of weights on the device at a moment, by the policy's own meter
peak        the most that PyTorch had on the GPU while a picture was drawn, activations and all
latents     relative L2 of the final latents to those with all weights on the device: 0 is wanted

On a CPU the device's memory is the same memory: the times are those of copying within it, the bytes those that a GPU would hold.
"""

import gc
from collections.abc import Iterator
from dataclasses import replace

from modules.bench.drawing import Drawing, Drawn, apart, in_turn
from modules.bench.memory import held, peak, restart_peak
from modules.bench.subject import Subject
from modules.bench.table import NAME, Column, Row, Table, ratio
from modules.devices.choice import Compute, choose_compute
from modules.devices.residence import Policy
from modules.engine.room import modules_of
from modules.engine.tiers import ONE, RESIDENT, STREAMED, TIERS, Tiers
from modules.families.model import LoadedModel

FLAGS = {RESIDENT: (), ONE: ("medvram",), STREAMED: ("lowvram",)}
COLUMNS = (
    replace(NAME, label="on the device"),
    Column(name="seconds", label="s per step", form="{:.3f}"),
    Column(name="times", label="times that of all", form="{:.2f}"),
    Column(name="weights", label="weights", form="{:.3f} GB"),
    Column(name="share", label="of all", form="{:.0%}"),
    Column(name="peak", label="peak", form="{:.3f} GB"),
    Column(name="latents", label="latents", form="{:.3f}"),
)


def tables(subject: Subject) -> Iterator[Table]:
    """One, a row a tier."""
    compute = choose_compute(use_cpu=subject.flags.use_cpu, precision=subject.flags.precision)
    title = f"Memory tiers: {subject.title}, {compute.device.type}, PyTorch in {compute.words}"
    yield Table(name="tiers", title=title, columns=COLUMNS, rows=measured(subject, compute))


def measured(subject: Subject, compute: Compute) -> Iterator[Row]:
    """A row a tier, each drawn with beside a model that is on the device as a whole."""
    base = Drawing(subject, compute)
    whole = weights_of(base.load())
    for tier, name in enumerate(TIERS):
        before = held(compute.device)
        tiers = Tiers(compute.device, FLAGS[tier])
        drawing = Drawing(subject, compute, tiers)
        policy = _on_cpu(drawing, tiers, tier)  # kept as long as it is in charge
        drawing.draw(-1)
        restart_peak(compute.device)
        drawing.draw(-1)
        most = peak(compute.device)
        pairs = list(in_turn(drawing.draw, base.draw, subject.pictures))
        weights = tiers.meter.peak if tier != RESIDENT else whole
        yield {
            "name": name,
            "seconds": min(per_step(ours, subject) for ours, _ in pairs),
            "times": ratio((ours.sampling, plain.sampling) for ours, plain in pairs),
            "weights": weights / 1e9,
            "share": weights / whole,
            "peak": most and (most - before) / 1e9,
            "latents": apart(pairs),
        }
        drawing.unload()
        del drawing, policy
        gc.collect()


def _on_cpu(drawing: Drawing, tiers: Tiers, tier: int) -> Policy | None:
    """Put a tier in charge on a CPU, where none is needed."""
    model = drawing.load()
    return tiers.policy_for(model, tier) if model.compute.device.type == "cpu" else None


def weights_of(model: LoadedModel) -> int:
    """Bytes of all its weights."""
    return sum(one.nbytes for module in modules_of(model) for one in (*module.parameters(), *module.buffers()))


def per_step(drawn: Drawn, subject: Subject) -> float:
    """Seconds of a step."""
    return drawn.sampling / subject.base["steps"]
