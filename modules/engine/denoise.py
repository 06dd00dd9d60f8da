"""From a plan's noise to the latents of one batch."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from modules.core.errors import Cancelled, InputError
from modules.core.faults import fault
from modules.engine.conditions import Guides
from modules.engine.context import Context
from modules.engine.controlling import Controls
from modules.engine.extra import blank_extra
from modules.engine.inversion import Search, check_search
from modules.engine.masking import Masked, Masking
from modules.engine.plan import Batch, Plan
from modules.engine.preview import CHEAP, FULL, LivePreview, grid, to_images
from modules.engine.refiner import Refiner, Relay, levels_of
from modules.engine.soundness import StepCheck
from modules.engine.techniques import Techniques
from modules.engine.tiled import regional, seeded, tiled
from modules.engine.toolbox import Toolbox
from modules.families.model import LoadedModel
from modules.images.encode import encode_jpeg
from modules.requests.events import Preview, Progress, Warned
from modules.sampling.guidance import Guided, Skips
from modules.sampling.noise import NoiseSource, Variation
from modules.sampling.sampler import Sampler, schedule_options
from modules.sampling.tiles import Regional
from modules.sampling.view import View


class Interrupted(Exception):
    """A batch was stopped in the middle; `denoised` is what there is of it, or None."""

    def __init__(self, denoised: Tensor | None) -> None:
        super().__init__("stopped")
        self.denoised = denoised


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a run begins with that is no mere noise: latents (B, C, h, w), and how much of the way is walked from them (denoising
    strength). `steps`: so many are taken whatever the strength; None takes that part of the request's.
    `multiplier`: of the noise; `extra`: so much of it is added once more. `masking`: only a part changes. `beside` (B, E, h, w): what the
    network sees beside the latents, `references`, latents (1, C, h, w) of any size, what it goes by, if it does; `image_scale`: how
    strictly InstructPix2Pix keeps to its picture. `search`: how its noise is found, which is kept as `found` for the next batch.
    """

    latents: Tensor
    strength: float
    steps: int | None = None
    multiplier: float = 1.0
    extra: float = 0.0
    masking: Masking | None = None
    beside: Tensor | None = None
    references: tuple[Tensor, ...] = ()
    image_scale: float | None = None
    search: Search | None = None
    found: dict[str, Tensor] = field(default_factory=dict)

    def counts(self, steps: int) -> tuple[int, int]:
        """A1111's steps of the whole schedule, and the number of the first step that is taken, counted from the end."""
        strength = min(self.strength, 0.999)
        if self.steps is None or strength == 0:
            return steps, int(strength * steps)
        return int(self.steps / strength), self.steps - 1


@dataclass(frozen=True, kw_only=True)
class Leg:
    """Which part of a batch's steps a run is: so many come before it, and after it. `phase`: the word for it."""

    before: int = 0
    after: int = 0
    phase: str = "sampling"


def denoise(
    model: LoadedModel,
    batch: Batch,
    plan: Plan,
    guides: Guides,
    tools: Toolbox,
    preview: LivePreview,
    context: Context,
    *,
    refiner: Refiner | None = None,
    start: Start | None = None,
    leg: Leg | None = None,
    controls: Controls | None = None,
) -> Tensor:
    """The latents (B, C, H/8, W/8) of one batch, from noise or drawn on from `start`; raises Interrupted when the user stops it, InputError for a size between latents."""
    request, options = plan.request, plan.options
    for side in ("width", "height"):
        check_side(side, getattr(request, side), model)
    sampler = tools.samplers.get(plan.sampler.name).on(model.levels)
    sampling, schedule = plan.sampling, tools.schedules.get(plan.schedule.label)
    levels = sampler.levels(levels_of(model, plan), quantize=options["enable_quantization"])
    steps, last = start.counts(request.steps) if start else (request.steps, request.steps - 1)
    taken = last + 1
    discard = options["always_discard_next_to_last_sigma"]
    sigmas = sampler.sigmas(
        steps,
        schedule,
        levels,
        schedule_options(options, model.family),
        discard=discard,
        skip_type=options["uni_pc_skip_type"],
    ).to(model.compute.device)
    shape = (model.latent_channels, request.height // model.downscale, request.width // model.downscale)
    noise = NoiseSource(
        batch.seeds,
        shape,
        device=model.compute.device,
        source=options["randn_source"],
        seed_delta=options["eta_noise_seed_delta"],
        restart=options["restart_noise"],
        variation=variation(batch, plan, model.downscale),
    )
    first = seeded(
        noise.first(),
        request.tiled_diffusion,
        lambda seeds, part: NoiseSource(seeds, part, device=model.compute.device, source=options["randn_source"]),
    )
    path = sampler.path(request.steps, sigmas, levels)
    if start:
        level, path = sampler.resumed(
            steps, last, sigmas, levels, discard=discard, skip_type=options["uni_pc_skip_type"]
        )
        over = first * start.multiplier
        if start.search:
            over = searched(
                model, batch, plan, guides, sampler, start, over, tools, context, top=sigmas[0], taken=taken
            )
        x = sampler.resume(start.latents, over, level, path, extra=start.extra)
    else:
        x = sampler.start(first, sigmas, preserving=options["sgm_noise_multiplier"])
    if controls:
        context = replace(context, stepped=controls.stepped(context.stepped, taken))
    with ExitStack() as patches:  # of the model, and of the refiner once it takes over
        base = guided_by(
            model, guides, batch, plan, sampler, sigmas, patches, taken=taken, start=start, controls=controls
        )
        guided: Guided | Regional | Relay | Masked = base
        if refiner:
            second = refiner
            guided = second.after(
                base,
                lambda calls: guided_by(
                    second.model, second.guides, batch, plan, sampler, sigmas, patches, calls, taken=taken
                ),
                levels,
            )
        if start and start.masking:
            guided = Masked(guided, start.masking, before=sampler.own_times)
        check = StepCheck(tools.models, taken) if tools.nan_check else None

        def working() -> LoadedModel:
            return refiner.model if refiner and refiner.took_over else model

        watcher = Watcher(batch, plan, working, preview, context, check, leg or Leg(), steps=taken)
        watcher.tell(0)
        try:
            latents = sampler.sample(
                guided,
                x,
                path,
                callback=watcher,
                noise_sampler=sampler.noise_sampler(noise, sigmas),
                **sampler.arguments(sampling),
            )
        except Cancelled as stop:
            raise Interrupted(watcher.denoised if not check or check.sound else None) from stop
        if check:
            check.end(latents, working())
        return latents


def searched(
    model: LoadedModel,
    batch: Batch,
    plan: Plan,
    guides: Guides,
    sampler: Sampler,
    start: Start,
    own: Tensor,
    tools: Toolbox,
    context: Context,
    *,
    top: Tensor,
    taken: int,
) -> Tensor:
    """The noise to lay over the latents of `start`, found in them and mixed with the seeds' `own`; raises Interrupted, InputError."""
    search, whole = start.search, plan.request.n_iter
    assert search is not None
    check_search(model, plan.request)

    def tell(step: int) -> None:
        phase = f"finding noise, {step} of {search.steps}"
        context.emit(Progress(batch=batch.number, batches=whole, step=0, steps=taken, phase=phase))
        context.check()

    if "noise" not in start.found:
        plain = search.plan(plan)
        levels = levels_of(model, plain)
        sigmas = tools.schedules.get("Automatic").sigmas(search.steps, levels).to(start.latents.device)
        with ExitStack() as patches:
            by = search.guides(model, plan.options, guides)
            denoiser = guided_by(
                model, by, batch, plain, sampler, sigmas, patches, taken=search.steps, start=start, search=search
            )
            try:
                start.found["noise"] = search.found(denoiser, start.latents, sigmas, tell)
            except Cancelled as stop:
                raise Interrupted(None) from stop
    return search.noise(start.found["noise"], start.latents, own, top)


def check_side(field: str, pixels: int, model: LoadedModel) -> None:
    """Raise InputError for a side that is no multiple of the model's pixels per latent."""
    step = model.downscale
    if over := pixels % step:
        below = pixels - over
        raise InputError(
            field,
            f'{field} is {pixels}: "{model.name}" draws in steps of {step} pixels. Use {below} or {below + step}.',
        )


def guided_by(
    model: LoadedModel,
    guides: Guides,
    batch: Batch,
    plan: Plan,
    sampler: Sampler,
    sigmas: Tensor,
    patches: ExitStack,
    calls: int = 0,
    *,
    taken: int,
    start: Start | None = None,
    controls: Controls | None = None,
    search: Search | None = None,
) -> Guided | Regional:
    """The model as the sampler asks it at the levels sigmas, with that many calls behind it; patched until `patches` close.

    `taken`: the steps of this run. `start`: what it begins with, if the network is to see more of that than its latents. `search`: the
    run looks for noise.
    """
    request, options = plan.request, plan.options
    levels = sampler.levels(levels_of(model, plan), quantize=options["enable_quantization"])
    levels = search.levels(levels) if search else levels
    size = len(batch.seeds)
    shape = (model.latent_channels, request.height // model.downscale, request.width // model.downscale)
    view = View()
    if controls:
        patches.enter_context(controls.patched(view, batch, (request.width, request.height), levels))
    techniques = Techniques(plan, model, sigmas, levels)
    patches.enter_context(techniques.patched())
    references = start.references if start else ()
    asked = sampler.denoiser(
        model.denoiser(levels, guidance=request.distilled_cfg_scale, references=references), levels
    )
    denoiser, beside = tiled(asked, request.tiled_diffusion, view), start.beside if start else None
    extra = blank_extra(model, batch.seeds, shape) if beside is None else beside

    def guided(by: Guides, extra: Tensor | None) -> Guided:
        return Guided(
            denoiser,
            [by.cond] * size,
            [by.uncond] * size,
            scale=request.cfg_scale * sampler.guidance,
            skips=Skips(
                below=sampler.threshold(plan.sampling["s_min_uncond"], levels),
                every=options["s_min_uncond_all"],
                until=options["skip_early_cond"] * taken * (2 if plan.sampler.second_order else 1),
            ),
            together=options["batch_cond_uncond"],
            extra=extra,
            image_scale=start.image_scale if start else None,
            extras=techniques.extras,
            calls=calls,
            view=view,
        )

    return regional(guided(guides, extra), guided, guides, plan, extra, view)


def variation(batch: Batch, plan: Plan, downscale: int) -> Variation:
    """What the request asks of the first noise beyond its seeds."""
    request = plan.request
    size = (request.seed_resize_from_w // downscale, request.seed_resize_from_h // downscale)
    return Variation(
        subseeds=batch.subseeds, strength=request.subseed_strength, resize_from=size if plan.resized else None
    )


class Watcher:
    """The sampler's callback: reports steps, sends previews, stops when asked."""

    def __init__(
        self,
        batch: Batch,
        plan: Plan,
        working: Callable[[], LoadedModel],
        preview: LivePreview,
        context: Context,
        check: StepCheck | None,
        leg: Leg,
        *,
        steps: int,
    ) -> None:
        self.denoised: Tensor | None = None
        self._batch = batch
        self._plan = plan
        self._steps = steps
        self._working = working
        self._check = check
        self._preview = preview
        self._context = context
        self._leg = leg
        preview.budget.begin()

    def __call__(self, step: dict[str, Any]) -> None:
        """Called by the sampler once a step, after the model's first evaluation in it."""
        denoised: Tensor = fault("step", step["denoised"])
        self.denoised = denoised
        done = min(step["i"] + 1, self._steps)  # some samplers take more
        if self._check:
            self._check.look(done, denoised, self._working())
        options = self._plan.options
        every = options["show_progress_every_n_steps"]
        self.tell(done)
        self._context.moments.on_step(done, denoised)
        if options["live_previews_enable"] and every > 0 and done % every == 0 and done < self._steps:
            self._show(denoised)
        self._context.check()

    def _show(self, latents: Tensor) -> None:
        """Send a preview of the latents (B, C, h, w): by the method of the settings, by the cheap one where that takes too long,
        or none where that does, too."""
        preview, budget = self._preview, self._preview.budget
        options = self._plan.options
        latents = latents if options["show_progress_grid"] else latents[:1]
        latents.flatten()[0].item()  # waits for the device, which is still drawing
        for method in dict.fromkeys((options["show_progress_type"], CHEAP)):
            kind = (method, latents.shape)
            if not budget.allows(kind):
                continue
            trouble = preview.ready(method, latents)
            if trouble:
                self._context.emit(Warned(message=trouble))
            budget.rest()
            if preview.has(method):
                full = method == FULL
                images = to_images(self._working().decode(latents)) if full else preview.draw(method, latents)
                self._context.emit(Preview(data=encode_jpeg(grid(images))))
                budget.spend(kind)
                return

    def tell(self, step: int) -> None:
        """Report that so many steps are done."""
        request, leg = self._plan.request, self._leg
        self._context.stepped(step)
        self._context.emit(
            Progress(
                batch=self._batch.number,
                batches=request.n_iter,
                step=leg.before + step,
                steps=leg.before + self._steps + leg.after,
                phase=leg.phase,
            )
        )
