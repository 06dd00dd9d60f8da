"""What recipes that draw from a prompt share: everything made ready once, then batch after batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

from modules.engine.conditions import Guides
from modules.engine.context import Context
from modules.engine.control_checks import asked_of_control, named_units
from modules.engine.control_pictures import Begun
from modules.engine.controlling import Controls, controls_of, hand_over_maps
from modules.engine.denoise import Interrupted, Leg, Start, denoise
from modules.engine.finish import finish
from modules.engine.kept import keeping_of
from modules.engine.plan import Batch, Plan, make_plan
from modules.engine.preview import LivePreview
from modules.engine.quantising import quantised
from modules.engine.refiner import Refiner, refiner_of
from modules.engine.restoring import restorer_of
from modules.engine.room import networks_of
from modules.engine.sizes import check_memory, check_sides, largest, least_for
from modules.engine.soundness import watch_vae
from modules.engine.techniques import asked_of_unets, decode
from modules.engine.toolbox import Toolbox
from modules.engine.wearing import Dress
from modules.families.compiled import CompiledUNet
from modules.families.model import LoadedModel
from modules.requests.events import Done, Loading, Order, Warned

Compose = Callable[[list[Image.Image], Batch, Sequence[str]], list[Image.Image]]
"""What a recipe makes of the decoded pictures of a batch, with these infotexts, before they are handed over."""


@dataclass(frozen=True, kw_only=True)
class Sitting:
    """One order with its model loaded, its plan made and its prompts encoded."""

    order: Order
    tools: Toolbox
    context: Context
    model: LoadedModel
    plan: Plan
    guides: Guides
    refiner: Refiner | None
    preview: LivePreview
    leg: Leg
    dress: Dress
    controls: Controls | None = None

    @property
    def models(self) -> int:
        """How many models it works with."""
        return 2 if self.refiner else 1

    @property
    def fields(self) -> dict[str, Any]:
        """What the infotext says of its prompts, and of its refiner once it took over."""
        return {**self.guides.fields, **(self.refiner.fields if self.refiner else {})}

    @property
    def last(self) -> LoadedModel:
        """The model that drew the last step."""
        return self.refiner.model if self.refiner and self.refiner.took_over else self.model

    def reading(self, name: str) -> None:
        """Tell that a file is being read."""
        self.context.emit(Loading(name=name))

    def denoise(self, batch: Batch, start: Start | None = None) -> Tensor:
        """The latents (B, C, h, w) of a batch, from noise or from `start`; raises Interrupted."""
        return denoise(
            self.model,
            batch,
            self.plan,
            self.guides,
            self.tools,
            self.preview,
            self.context,
            refiner=self.refiner,
            start=start,
            leg=self.leg,
            controls=self.controls,
        )


def prepare(
    order: Order,
    tools: Toolbox,
    context: Context,
    *,
    leg: Leg | None = None,
    after: Sitting | None = None,
    refined: bool = True,
    begun: Sequence[Begun] = (),
) -> Sitting:
    """Load what the order needs and decide all that can be decided before the first step. Raises InputError and its kin.

    `after`: the first of two passes over each picture, whose models stay; `leg` is this one's part. `refined`: the refiner takes
    part, if the request has one. `begun`: what a picture is drawn on from.
    """
    request, options = order.request, order.options

    def reading(name: str) -> None:
        context.emit(Loading(name=name))

    beside = after.models if after else 0
    load = partial(
        tools.models.load,
        options["sd_model_checkpoint"],
        reading,
        vae=options["sd_vae"],
        modules=options.get("forge_additional_modules", ()),
        keeping=keeping_of(options),
        check=context.check_interrupted,
        beside=beside,
        float8=options["fp8_storage"],
        pixels=largest(request),
    )
    model = quantised(load(), reading, lambda said: context.emit(Warned(message=said)))
    check_sides(request, model.downscale, f'"{model.name}"')
    tools.small.check(model, options)
    least = least_for(request, model, together=options["batch_cond_uncond"])
    check_memory(request, least, tools.models.room(), f'"{model.name}"')
    plan = make_plan(
        request,
        seed=order.seed,
        options=options,
        catalogue=tools.catalogue,
        model_name=model.name,
        model_hash="",  # not needed before a picture is written
        inpainting=model.inpainting,
        distilled=model.distilled,
        vae=model.vae_file,
        modules=model.modules,
        float8=model.compute.float8,
        first_pass=after.plan.calls if after else None,
        notes=order.notes,
        user=order.user,
    )
    if isinstance(model.backbone, CompiledUNet) and (asked := asked_of_unets(plan) + asked_of_control(plan, tools)):
        context.emit(Warned(message=f"PyTorch computes this picture, more slowly than OpenVINO: {asked[0]} needs it."))
        model = load(plain=True)
    plan = named_units(plan, tools)
    controls = controls_of(plan, model, tools, context, begun, hires=after is not None)
    dress = Dress(model=model, plan=plan, tools=tools, context=context)
    early = None
    if after and after.model is model and options["hires_fix_use_firstpass_conds"]:
        early = tools.conditions.guides(model, plan, after.dress.worn)
    worn = dress.put_on(after.dress if after else None)
    context = replace(context, stepped=dress.stepped)
    guides = early or tools.conditions.guides(model, plan, worn)
    refiner = None
    if refined:
        stop = context.check_interrupted
        refiner = refiner_of(plan, model, tools.models, tools.refining, reading, stop, beside=beside + 1)
    used = [model, refiner.model] if refiner else [model]
    for one in used if tools.nan_check else ():
        watch_vae(one, tools.models, options, context)
    for one in used:
        tools.speeding.put(one.backbone, context, streamed=tools.models.policy_of(one) is not None)
    if trouble := tools.attentions.put([network for one in used for network in networks_of(one)], options):
        context.emit(Warned(message=trouble))
    if after is None:  # a second pass finds the model as the first one had it
        context.undo.enter_context(context.moments.patch(model))
    return Sitting(
        order=order,
        tools=tools,
        context=context,
        model=model,
        plan=plan,
        guides=guides,
        refiner=refiner,
        preview=tools.previews.of(model),
        leg=leg or Leg(),
        dress=dress,
        controls=controls,
    )


class Passes(Protocol):
    """Who draws, where more than one sitting does."""

    @property
    def at(self) -> Sitting:
        """The sitting whose latents there are."""
        ...

    @property
    def told(self) -> Mapping[str, Any]:
        """What the infotext says of the second pass."""
        ...

    @property
    def fields(self) -> Mapping[str, Any]:
        """What it says of the prompts and the refiners of all of them."""
        ...


def draw(
    sitting: Sitting,
    latents_of: Callable[[Batch], Tensor],
    compose: Compose | None = None,
    passes: Passes | None = None,
) -> Done:
    """Draw the batches that are not done yet, telling of each picture when it is ready.

    `latents_of` may raise Interrupted: what it holds is decoded, handed over as incomplete, and the job ends unless only the batch
    was skipped.
    """
    order, context, plan = sitting.order, sitting.context, sitting.plan
    faces = restorer_of(plan, sitting.tools, context)

    def known() -> Plan:  # hashes are not waited for before a picture is written
        return replace(
            plan, model_hash=sitting.model.sha256(), fields={**plan.fields, **(passes.told if passes else {})}
        )

    told: Mapping[str, Any] = sitting.guides.fields
    stopped = False
    for batch in plan.batches:
        if order.done.issuperset(batch.positions):
            continue
        if context.ending:
            stopped = True
            break
        incomplete = False
        try:
            latents = latents_of(batch)
        except Interrupted as stop:
            stopped = incomplete = True
            latents = stop.denoised
        if latents is not None:
            at, told = passes.at if passes else sitting, (passes or sitting).fields
            pixels = decode(at.last, at.plan, latents, at.tools.small)
            finish(
                pixels,
                batch,
                known(),
                told,
                context,
                incomplete=incomplete,
                done=order.done,
                compose=compose,
                faces=faces,
            )
    hand_over_maps([passes.at.controls if passes else None, sitting.controls], plan, context)
    return Done(info=known().info(told), stopped=stopped and context.ending)
