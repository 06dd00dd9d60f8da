"""Text to image with a checkpoint that runs as a whole pipeline of diffusers: its pictures one after the other."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from modules.core.errors import Cancelled, InputError, NotANumber
from modules.engine.context import Context
from modules.engine.denoise import variation
from modules.engine.finish import finish
from modules.engine.plan import Batch, Plan, make_plan
from modules.engine.restoring import restorer_of
from modules.engine.sizes import check_memory, check_sides, least_for_any
from modules.engine.toolbox import Toolbox
from modules.families.whole.model import Ask, WholeModel
from modules.requests.events import Done, Order, Progress, Warned
from modules.sampling.noise import NoiseSource

REFUSED = (
    "enable_hr",
    "refiner_checkpoint",
    "freeu",
    "self_attention_guidance",
    "perturbed_attention_guidance",
    "dynamic_thresholding",
    "cfg_rescale",
    "deep_cache",
    "first_block_cache",
)
UNHEEDED = ("eta", "s_churn", "s_tmin", "s_tmax", "s_noise", "s_min_uncond")
UNTOLD = ("Sampler", "Schedule type", "Clip skip", "Emphasis", "ENSD", "VAE", "VAE hash")
"""Keys of the infotext that would say what was not used."""

NAN = "{label} gave NaN in {words}; no picture is saved. Lower cfg_scale, start with --no-half, or choose another checkpoint."


def draw_whole(order: Order, tools: Toolbox, context: Context, on_read: Callable[[str], None]) -> Done:
    """Draw the pictures of the order that are not done yet, telling of each when it is ready."""
    model = tools.models.load_whole(order.options["sd_model_checkpoint"], on_read)
    plan = make_plan(
        order.request,
        seed=order.seed,
        options=order.options,
        catalogue=tools.catalogue,
        model_name=model.name,
        model_hash="",  # not needed before a picture is written
        notes=order.notes,
        user=order.user,
    )
    check(plan, model)
    least = least_for_any(order.request, model.compute.dtype.itemsize)
    check_memory(order.request, least, tools.models.room(), model.pipeline.label)
    context.emit(Warned(message=unheeded(plan, model)))
    faces = restorer_of(plan, tools, context)
    fields = {**dict.fromkeys(UNTOLD), "Pipeline": model.pipeline.label}
    stopped = False
    for batch in plan.batches:
        if stopped := stopped or context.ending:
            break
        try:
            for one, pixels in _pictures(model, batch, plan, context, order.done):
                if tools.nan_check and not pixels.isfinite().all():
                    raise NotANumber(NAN.format(label=model.pipeline.label, words=model.compute.words))
                plan = replace(plan, model_hash=model.sha256())
                finish(pixels, one, plan, fields, context, incomplete=False, done=order.done, faces=faces)
        except Cancelled:  # what was skipped is left out
            stopped = context.cancel.interrupted
    plan = replace(plan, model_hash=model.sha256())
    return Done(info=plan.info(fields), stopped=stopped)


def check(plan: Plan, model: WholeModel) -> None:
    """Raise InputError for what such a pipeline cannot do."""
    request, label = plan.request, model.pipeline.label
    asked = [name for name in REFUSED if getattr(request, name)]
    asked += ["subseed_strength"] if request.subseed_strength and not model.pipeline.seeded else []
    asked += ["tiling"] if plan.tiling else []
    asked += ["token_merging_ratio"] if plan.options["token_merging_ratio"] else []
    if asked:
        raise InputError(
            asked[0],
            f"{asked[0]} is not possible with {label}, which runs as a whole pipeline. Turn it off or choose another checkpoint.",
        )
    check_sides(request, model.pipeline.multiple, label)


def unheeded(plan: Plan, model: WholeModel) -> str:
    """A sentence naming what this job says to no effect."""
    request = plan.request
    names = ["sampler_name", "scheduler", *(name for name in UNHEEDED if getattr(request, name) is not None)]
    names += [f"<{kind}:...>" for kind in sorted({tag.kind for tag in plan.prompt.tags})]
    listed = ", ".join(names)
    return f"{model.pipeline.label} runs as a whole pipeline with its own sampler: {listed} have no effect, brackets are text, and there are no previews."


def _pictures(
    model: WholeModel, batch: Batch, plan: Plan, context: Context, done: frozenset[int]
) -> Iterator[tuple[Batch, Tensor]]:
    """Each picture of the batch that is not done, as a batch of its own: (1, 3, H, W)."""
    request = plan.request
    singles = [
        replace(batch, positions=(position,), seeds=(seed,), subseeds=(subseed,))
        for position, seed, subseed in zip(batch.positions, batch.seeds, batch.subseeds, strict=True)
        if position not in done
    ]
    calls = model.pipeline.calls(request.steps, request.width, request.height)
    for number, one in enumerate(singles):
        counter = Counter(batch.number, request.n_iter, number * calls, len(singles) * calls, context)
        yield one, model.pipeline.draw(_ask(one, plan, model, counter))


def _ask(one: Batch, plan: Plan, model: WholeModel, on_step: Callable[[], None]) -> Ask:
    request = plan.request

    def noise(shape: tuple[int, int, int]) -> Tensor:
        return NoiseSource(
            one.seeds,
            shape,
            device=model.compute.device,
            source=plan.options["randn_source"],
            variation=variation(one, plan, request.height // shape[1]),
        ).first()

    return Ask(
        prompt=plan.prompt.plain,
        negative=plan.negative.plain,
        steps=request.steps,
        scale=request.cfg_scale,
        width=request.width,
        height=request.height,
        noise=noise,
        generator=torch.Generator().manual_seed(one.seeds[0]),
        on_step=on_step,
    )


class Counter:
    """Tells of each step of a picture, and stops it when asked to; `done` of `total` are behind it in its batch."""

    def __init__(self, batch: int, batches: int, done: int, total: int, context: Context) -> None:
        self._batch = batch
        self._batches = batches
        self._done = done
        self._total = total
        self._context = context

    def __call__(self) -> None:
        """One more step is done; raises Cancelled."""
        self._done = min(self._done + 1, self._total)  # some schedulers take more
        self._context.emit(Progress(batch=self._batch, batches=self._batches, step=self._done, steps=self._total))
        self._context.check()
