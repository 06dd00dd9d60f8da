"""The recipe of text to image."""

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from modules.core.errors import Cancelled
from modules.core.registry import Registry
from modules.engine.conditions import Conditions, Guides
from modules.engine.context import Context
from modules.engine.extra import blank_extra
from modules.engine.models import Models
from modules.engine.plan import Batch, Plan, make_plan
from modules.engine.preview import CheapPreview, Previews, grid, to_images
from modules.engine.refiner import Refiner, Relay, levels_of, refiner_of
from modules.engine.techniques import Techniques, decode
from modules.families.model import LoadedModel
from modules.images.encode import encode_jpeg, encode_png
from modules.requests.catalogue import Catalogue
from modules.requests.events import Done, ImageReady, Loading, Order, Preview, Progress, Warned
from modules.sampling.guidance import Guided, Skips
from modules.sampling.noise import NoiseSource, Variation
from modules.sampling.sampler import Sampler, schedule_options
from modules.sampling.schedules import Schedule


@dataclass(frozen=True, kw_only=True)
class Toolbox:
    """The registries a recipe draws from, and the conditioning that jobs share, of models and of refiners."""

    models: Models
    samplers: Registry[Sampler]
    schedules: Registry[Schedule]
    catalogue: Catalogue
    conditions: Conditions = field(default_factory=Conditions)
    refining: Conditions = field(default_factory=Conditions)
    previews: Previews = field(default_factory=Previews)


class Interrupted(Exception):
    """A batch was stopped in the middle; `denoised` is what there is of it, or None."""

    def __init__(self, denoised: Tensor | None) -> None:
        super().__init__("stopped")
        self.denoised = denoised


def txt2img(order: Order, tools: Toolbox, context: Context) -> Done:
    """Draw the pictures of the order that are not done yet, telling of each when it is ready."""
    request, options = order.request, order.options
    reading = lambda name: context.emit(Loading(name=name))  # noqa: E731
    model = tools.models.load(options["sd_model_checkpoint"], reading, vae=options["sd_vae"])
    plan = make_plan(
        request,
        seed=order.seed,
        options=options,
        catalogue=tools.catalogue,
        model_name=model.name,
        model_hash=model.sha256,
        inpainting=model.inpainting,
        vae=model.vae_file,
    )
    for kind in sorted({tag.kind for tag in plan.prompt.tags}):
        context.emit(
            Warned(message=f"<{kind}:...> in the prompt has no effect: this version has no such networks yet.")
        )
    told = guides = tools.conditions.guides(model, plan)
    refiner = refiner_of(plan, model, tools.models, tools.refining, reading)
    preview = tools.previews.of(model)
    stopped = False
    for batch in plan.batches:
        if order.done.issuperset(batch.positions):
            continue
        if context.cancel.interrupted:
            stopped = True
            break
        incomplete = False
        try:
            latents = denoise(model, batch, plan, guides, tools, preview, context, refiner=refiner)
        except Interrupted as stop:
            stopped = incomplete = True
            latents = stop.denoised
        if latents is not None:
            last = refiner.model if refiner and refiner.took_over else model
            told = replace(guides, fields={**guides.fields, **(refiner.fields if refiner else {})})
            finish(decode(last, plan, latents), batch, plan, told, context, incomplete=incomplete, done=order.done)
    return Done(info=plan.info(told.fields), stopped=stopped and context.cancel.interrupted)


def denoise(
    model: LoadedModel,
    batch: Batch,
    plan: Plan,
    guides: Guides,
    tools: Toolbox,
    preview: CheapPreview,
    context: Context,
    *,
    refiner: Refiner | None = None,
) -> Tensor:
    """The latents (B, C, H/8, W/8) of one batch; raises Interrupted when the user stops it."""
    request, options = plan.request, plan.options
    sampler = tools.samplers.get(plan.sampler.name).on(model.levels)
    sampling, schedule = plan.sampling, tools.schedules.get(plan.schedule.label)
    levels = sampler.levels(levels_of(model, plan), quantize=options["enable_quantization"])
    sigmas = sampler.sigmas(
        request.steps,
        schedule,
        levels,
        schedule_options(options, model.family),
        discard=options["always_discard_next_to_last_sigma"],
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
    with ExitStack() as patches:  # of the model, and of the refiner once it takes over
        base = guided_by(model, guides, batch, plan, sampler, sigmas, patches)
        guided: Guided | Relay = base
        if refiner:
            second = refiner
            guided = second.after(
                base,
                lambda calls: guided_by(second.model, second.guides, batch, plan, sampler, sigmas, patches, calls),
                levels,
            )
        watcher = Watcher(batch, plan, model, preview, context)
        watcher.tell(0)
        try:
            return sampler.sample(
                guided,
                sampler.start(noise.first(), sigmas, preserving=options["sgm_noise_multiplier"]),
                sampler.path(request.steps, sigmas, levels),
                callback=watcher,
                noise_sampler=sampler.noise_sampler(noise, sigmas),
                **sampler.arguments(sampling),
            )
        except Cancelled as stop:
            raise Interrupted(watcher.denoised) from stop


def guided_by(
    model: LoadedModel,
    guides: Guides,
    batch: Batch,
    plan: Plan,
    sampler: Sampler,
    sigmas: Tensor,
    patches: ExitStack,
    calls: int = 0,
) -> Guided:
    """The model as the sampler asks it at the levels sigmas, with that many calls behind it; patched until `patches` close."""
    request, options = plan.request, plan.options
    levels = sampler.levels(levels_of(model, plan), quantize=options["enable_quantization"])
    size = len(batch.seeds)
    shape = (model.latent_channels, request.height // model.downscale, request.width // model.downscale)
    techniques = Techniques(plan, model, sigmas, levels)
    patches.enter_context(techniques.patched())
    return Guided(
        sampler.denoiser(model.denoiser(levels), levels),
        [guides.cond] * size,
        [guides.uncond] * size,
        scale=request.cfg_scale * sampler.guidance,
        skips=Skips(
            below=sampler.threshold(plan.sampling["s_min_uncond"], levels),
            every=options["s_min_uncond_all"],
            until=options["skip_early_cond"] * request.steps * (2 if plan.sampler.second_order else 1),
        ),
        together=options["batch_cond_uncond"],
        extra=blank_extra(model, batch.seeds, shape),
        extras=techniques.extras,
        calls=calls,
    )


def variation(batch: Batch, plan: Plan, downscale: int) -> Variation:
    """What the request asks of the first noise beyond its seeds."""
    request = plan.request
    size = (request.seed_resize_from_w // downscale, request.seed_resize_from_h // downscale)
    return Variation(
        subseeds=batch.subseeds, strength=request.subseed_strength, resize_from=size if plan.resized else None
    )


class Watcher:
    """The sampler's callback: reports steps, sends previews, stops when asked."""

    def __init__(self, batch: Batch, plan: Plan, model: LoadedModel, preview: CheapPreview, context: Context) -> None:
        self.denoised: Tensor | None = None
        self._batch = batch
        self._plan = plan
        self._model = model
        self._preview = preview
        self._context = context

    def __call__(self, step: dict[str, Any]) -> None:
        """Called by the sampler once a step, after the model's first evaluation in it."""
        self.denoised = step["denoised"]
        done = min(step["i"] + 1, self._plan.request.steps)  # some samplers take more
        options = self._plan.options
        every = options["show_progress_every_n_steps"]
        self.tell(done)
        if options["live_previews_enable"] and every > 0 and done % every == 0 and done < self._plan.request.steps:
            images = (
                to_images(self._model.decode(step["denoised"]))
                if options["show_progress_type"] == "Full"
                else self._preview(step["denoised"])
            )
            self._context.emit(Preview(data=encode_jpeg(grid(images))))
        self._context.check()

    def tell(self, step: int) -> None:
        """Report that so many steps are done."""
        request = self._plan.request
        self._context.emit(Progress(batch=self._batch.number, batches=request.n_iter, step=step, steps=request.steps))


def finish(
    pixels: Tensor,
    batch: Batch,
    plan: Plan,
    guides: Guides,
    context: Context,
    *,
    incomplete: bool,
    done: frozenset[int],
) -> None:
    """Hand over the pictures of a batch, but for those that an earlier try has delivered."""
    for image, position, seed, subseed in zip(
        to_images(pixels), batch.positions, batch.seeds, batch.subseeds, strict=True
    ):
        if position in done:
            continue
        infotext = plan.infotext(seed, subseed, guides.fields)
        data = encode_png(image, infotext if plan.options["enable_pnginfo"] else None)
        context.emit(
            ImageReady(
                index=position,
                data=data,
                infotext=infotext,
                seed=seed,
                fields=plan.pattern_fields(position, seed),
                incomplete=incomplete,
            )
        )
