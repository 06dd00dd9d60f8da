"""From a plan's noise to the latents of one batch."""

from contextlib import ExitStack
from typing import Any

from torch import Tensor

from modules.core.errors import Cancelled
from modules.engine.conditions import Guides
from modules.engine.context import Context
from modules.engine.extra import blank_extra
from modules.engine.plan import Batch, Plan
from modules.engine.preview import CheapPreview, grid, to_images
from modules.engine.refiner import Refiner, Relay, levels_of
from modules.engine.techniques import Techniques
from modules.engine.toolbox import Toolbox
from modules.families.model import LoadedModel
from modules.images.encode import encode_jpeg
from modules.requests.events import Preview, Progress
from modules.sampling.guidance import Guided, Skips
from modules.sampling.noise import NoiseSource, Variation
from modules.sampling.sampler import Sampler, schedule_options


class Interrupted(Exception):
    """A batch was stopped in the middle; `denoised` is what there is of it, or None."""

    def __init__(self, denoised: Tensor | None) -> None:
        super().__init__("stopped")
        self.denoised = denoised


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
