"""The recipe of text to image."""

from dataclasses import replace

from torch import Tensor

from modules.engine.conditions import Guides
from modules.engine.context import Context
from modules.engine.denoise import Interrupted, denoise
from modules.engine.plan import Batch, Plan, make_plan
from modules.engine.preview import to_images
from modules.engine.refiner import refiner_of
from modules.engine.techniques import decode
from modules.engine.toolbox import Toolbox
from modules.images.encode import encode_png
from modules.requests.events import Done, ImageReady, Loading, Order, Warned


def txt2img(order: Order, tools: Toolbox, context: Context) -> Done:
    """Draw the pictures of the order that are not done yet, telling of each when it is ready."""
    request, options = order.request, order.options

    def reading(name: str) -> None:
        context.emit(Loading(name=name))

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
