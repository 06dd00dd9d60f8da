"""Computing less: what an option saves in time and costs in likeness, and what live previews cost.

Each option draws the same prompts and seeds as none does, in turn with it, picture by picture.

time            median of the option's time of sampling against that of none beside it; CPU time of this process where it
                computes on the CPU, else that of a clock
latents         relative L2 distance of the final latents from those of none
pictures        PSNR against those of none, of all pictures together

The second table is what live previews would cost at every fifth step, as share of the time of the picture; those that need a
file are measured where it is there. Everything is computed by PyTorch, which is what these options need.
LCM and TCD draw other pictures than the sampler they are held against unless the model was distilled for them.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from modules.bench.drawing import Drawing, apart, decibels, in_turn
from modules.bench.subject import Subject
from modules.bench.table import NAME, Column, Row, Table, ratio
from modules.devices.choice import choose_compute
from modules.engine.preview import CHEAP, FULL, grid, to_images
from modules.families.model import LoadedModel
from modules.families.small_decoders import APPROX, TAESD
from modules.images.encode import encode_jpeg

EVERY = 5  # steps from one live preview to the next
NONE = "none, again"
UNETS: dict[str, dict[str, Any]] = {
    NONE: {},
    "token merging 0.2": {"override_settings": {"token_merging_ratio": 0.2}},
    "token merging 0.5": {"override_settings": {"token_merging_ratio": 0.5}},
    "DeepCache, interval 2": {"deep_cache": {"interval": 2}},
    "DeepCache, interval 3": {"deep_cache": {"interval": 3}},
    "DeepCache, interval 5": {"deep_cache": {"interval": 5}},
    "DeepCache, interval 3, branch 2": {"deep_cache": {"interval": 3, "branch": 2}},
    "LCM, 8 steps, CFG 1.5": {"sampler_name": "LCM", "steps": 8, "cfg_scale": 1.5},
    "TCD, 8 steps, CFG 1.5": {"sampler_name": "TCD", "steps": 8, "cfg_scale": 1.5},
}
TRANSFORMERS: dict[str, dict[str, Any]] = {
    NONE: {},
    "first-block cache 0.05": {"first_block_cache": {"threshold": 0.05}},
    "first-block cache 0.08": {"first_block_cache": {"threshold": 0.08}},
    "first-block cache 0.12": {"first_block_cache": {"threshold": 0.12}},
}
COLUMNS = (
    replace(NAME, label="option"),
    Column(name="time", label="time", form="{:.2f}"),
    Column(name="latents", label="latents", form="{:.3f}"),
    Column(name="psnr", label="pictures", form="{:.1f} dB"),
)
SHARES = (replace(NAME, label="live preview"), Column(name="share", label="share", form="{:.2%}"))


def tables(subject: Subject) -> Iterator[Table]:
    """That of options, and that of live previews."""
    drawing = Drawing(subject, choose_compute(use_cpu=subject.flags.use_cpu, precision=subject.flags.precision))
    model = drawing.load()
    title = f"Computing less: {subject.title}, {model.compute.device.type}, PyTorch in {model.compute.words}"
    rows = measured(drawing, subject.pictures, options_of(model))
    yield Table(name="caching", title=title, columns=COLUMNS, rows=rows)
    shares = preview_shares(drawing, model, subject)
    yield Table(
        name="previews", title=f"Live previews at every {EVERY}th step: {subject.title}", columns=SHARES, rows=shares
    )


def options_of(model: LoadedModel) -> Mapping[str, dict[str, Any]]:
    """Those that its network knows."""
    return UNETS if model.family in ("sd1", "sd2", "sdxl") else TRANSFORMERS


def measured(drawing: Drawing, pictures: int, options: Mapping[str, dict[str, Any]]) -> Iterator[Row]:
    """A row an option."""
    for name, values in options.items():
        with_option: Callable[[int], Any] = lambda number, values=values: drawing.draw(number, values)  # noqa: E731
        pairs = list(in_turn(with_option, drawing.draw, pictures))
        yield {
            "name": name,
            "time": ratio((ours.used, plain.used) for ours, plain in pairs),
            "latents": apart(pairs),
            "psnr": decibels(pairs) or "same",
        }


def preview_shares(drawing: Drawing, model: LoadedModel, subject: Subject) -> Iterator[Row]:
    """A row a method that can be used: its share of a picture's time."""
    preview = drawing.tools.previews.of(model)
    drawn = [drawing.draw(number) for number in range(subject.pictures)]
    latents = drawn[0].latents.to(model.compute.device)
    whole = statistics.median(one.used for one in drawn)
    steps = len(range(EVERY, subject.steps, EVERY))
    for method in (CHEAP, APPROX, TAESD, FULL):
        preview.ready(method, latents)
        if not preview.has(method):
            continue

        def show(method: str = method) -> None:
            pixels = to_images(model.decode(latents)) if method == FULL else preview.draw(method, latents)
            encode_jpeg(grid(pixels))

        yield {"name": method, "share": steps * _cost(show, model) / whole}


def _cost(show: Callable[[], None], model: LoadedModel) -> float:
    """Median seconds of a preview, by the clock that sampling is measured with; the first two warm up."""
    clock = time.process_time if model.compute.device.type == "cpu" else time.perf_counter
    times = []
    with torch.inference_mode():
        for _ in range(7):
            began = clock()
            show()
            times.append(clock() - began)
    return statistics.median(times[2:])
