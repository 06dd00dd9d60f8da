"""The recipes that make model files: merged checkpoints, extracted and merged LoRAs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modules.core.errors import Cancelled, ModelFileError
from modules.core.files import write_atomic
from modules.engine.context import Context
from modules.engine.toolbox import Toolbox
from modules.library.checkpoints import Checkpoint
from modules.library.merge_files import extracted_name, joined_name, merged_name
from modules.merging.extract import Extraction
from modules.merging.lora import read_lora
from modules.merging.lora_sum import Baked, LoraSum
from modules.merging.merge import Merge
from modules.merging.recipe import merge_metadata
from modules.merging.save import save
from modules.merging.sources import Source, open_source, open_vae
from modules.requests.events import Done, Loading, Order, Progress, Warned
from modules.requests.merge import CONFIG_SOURCES, ExtractLoraRequest, MergeLorasRequest, MergeRequest

EVERY = 0.2
"""Seconds between two reports."""


class Reporter:
    """Tells how far a job is, in MB of what is written; raises Cancelled when it is to stop."""

    def __init__(self, context: Context, phase: str) -> None:
        self._context = context
        self._phase = phase
        self._told = 0.0

    def __call__(self, done: int, whole: int) -> None:
        check(self._context)
        if time.monotonic() - self._told < EVERY:
            return
        self._told = time.monotonic()
        steps = max(whole // 10**6, 1)
        self._context.emit(Progress(batch=0, batches=1, step=min(done // 10**6, steps), steps=steps, phase=self._phase))


def check(context: Context) -> None:
    """Raise Cancelled if the job is to stop; there is nothing to skip."""
    if context.cancel.interrupted:
        raise Cancelled


def stoppable(recipe: Callable[[Order, Toolbox, Context], dict[str, Any]]) -> Callable[[Order, Toolbox, Context], Done]:
    """A recipe that ends with its result, or without one when the user stops it."""

    def run(order: Order, tools: Toolbox, context: Context) -> Done:
        try:
            return Done(info={"result": recipe(order, tools, context)})
        except Cancelled:
            return Done(stopped=True)

    return run


def extract_lora(order: Order, tools: Toolbox, context: Context) -> Done:
    """Make a LoRA of what the order's tuned checkpoint has more than its base."""
    return stoppable(_extract_lora)(order, tools, context)


def merge_loras(order: Order, tools: Toolbox, context: Context) -> Done:
    """Merge the LoRAs of the order into each other, or into a checkpoint."""
    return stoppable(_merge_loras)(order, tools, context)


def merge_checkpoints(order: Order, tools: Toolbox, context: Context) -> Done:
    """Merge the checkpoints of the order into a new one."""
    return stoppable(_merge_checkpoints)(order, tools, context)


def _merge_checkpoints(order: Order, tools: Toolbox, context: Context) -> dict[str, Any]:
    request: MergeRequest = order.request
    vae = tools.files.vae(request)
    sources = tuple(opened(model, tools, context) for model in tools.files.models(request))
    merge = Merge(request, sources, open_vae(vae.path) if vae else None)
    name = merged_name(request, [source.checkpoint for source in sources])
    suffix = f".{merge.extra}" * bool(merge.extra) + f".{request.checkpoint_format}"
    path = tools.files.target(request, name, suffix)
    metadata, config = merge_metadata(request, sources, merge), config_of(request, sources)
    sha256 = save(path, order.job, merge.forms(), merge.tensor, metadata, Reporter(context, f"writing {path.name}"))
    if config:
        write_atomic(path.with_suffix(".yaml"), config)
    return told(path, sha256, tools, "checkpoint")


def _extract_lora(order: Order, tools: Toolbox, context: Context) -> dict[str, Any]:
    request: ExtractLoraRequest = order.request
    models = tools.files.pair(request)
    path = tools.files.target(request, extracted_name(request, *models), ".safetensors")
    tuned, base = (opened(model, tools, context) for model in models)
    found = Extraction(request, tuned, base, tools.models.device)
    if found.others:
        context.emit(
            Warned(
                message=f"{found.others} other weights differ too, which this LoRA does not hold: norms, biases and such."
            )
        )
    reporter = Reporter(context, f"writing {path.name}")
    sha256 = save(path, order.job, found.forms(), found.tensor, found.metadata(path.stem), reporter)
    return told(path, sha256, tools, "lora")


def _merge_loras(order: Order, tools: Toolbox, context: Context) -> dict[str, Any]:
    request: MergeLorasRequest = order.request
    pairs, checkpoint = tools.files.loras_of(request), tools.files.checkpoint_of(request)
    path = tools.files.target(request, joined_name(request, [lora for lora, _ in pairs], checkpoint), ".safetensors")
    loras = [(read_lora(lora.path, lora.name), weight) for lora, weight in pairs]
    reporter = Reporter(context, f"writing {path.name}")
    if checkpoint is None:
        found = LoraSum(loras, request.rank, request.precision)
        sha256 = save(path, order.job, found.forms(), found.tensor, found.metadata(path.stem), reporter)
        return told(path, sha256, tools, "lora")
    baked = Baked(opened(checkpoint, tools, context), loras)
    if baked.left_out:
        context.emit(
            Warned(
                message=f'{len(baked.left_out)} layers have no place in "{checkpoint.name}": {baked.left_out[0]} first.'
            )
        )
    sha256 = save(path, order.job, baked.forms(), baked.tensor, baked.metadata(), reporter)
    return told(path, sha256, tools, "checkpoint")


def opened(model: Checkpoint, tools: Toolbox, context: Context) -> Source:
    """That checkpoint, with its hash, for merging."""
    check(context)
    context.emit(Loading(name=model.name))
    return open_source(tools.files.checkpoints.identify(model))


def told(path: Path, sha256: str | None, tools: Toolbox, kind: str) -> dict[str, Any]:
    """What the job says of its result: a checkpoint or a LoRA."""
    hashes = tools.files.checkpoints.hashes
    if sha256:
        hashes.remember(path, sha256)
    sha256 = hashes.sha256(path)
    words = f'{"Checkpoint" if kind == "checkpoint" else "LoRA"} saved to "{path}".'
    return {"kind": kind, "name": path.name, "path": str(path), "sha256": sha256, "message": words}


def config_of(request: MergeRequest, sources: tuple[Source, ...]) -> bytes | None:
    """The .yaml beside the wanted source, for the result, as A1111 copies it; raises ModelFileError."""
    wanted = {"A, B or C": sources, "B": sources[1:2], "C": sources[2:3]}.get(request.config_source, ())
    for source in wanted:
        beside = source.checkpoint.path.with_suffix(".yaml")
        if not beside.is_file():
            continue
        try:
            return beside.read_bytes()
        except OSError as error:
            raise ModelFileError(
                f'"{beside.name}" cannot be read: {error.strerror}. Mend it, or choose {CONFIG_SOURCES[-1]} under Copy config from.'
            ) from error
    return None
