"""A request's ControlNet units in a run: their models loaded, their pictures made ready, their patches set."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from modules.control.hints import as_hint
from modules.control.ip_adapter import ImagePrompt, IPAdapter, Words
from modules.control.kinds import CONTROLNET, LABELS
from modules.control.lllite import LiteUnit, LLLite
from modules.control.models import LoadedControl
from modules.control.networks import ControlNetwork
from modules.control.reference import Reference, References
from modules.control.revision import REVISIONS, Revision, Revisions, augmented, pooled_width
from modules.control.t2i_style import StyleAdapter, StyleWords
from modules.control.transformers.network import TokenNetwork, unsoftened
from modules.control.turns import BALANCED, Clock, Moment
from modules.control.union import UNKNOWN, Union
from modules.control.units import TokenUnits, Units, WorkingUnit
from modules.control.vision import look
from modules.core.errors import InputError
from modules.engine.context import Context
from modules.engine.control_pictures import Begun, ControlPictures, mask_of
from modules.engine.plan import Batch, Plan
from modules.engine.toolbox import Toolbox
from modules.families.model import LoadedModel
from modules.families.unet import UNetNetwork
from modules.patches.hooks import hooks
from modules.requests.control import NONE, ControlUnit
from modules.requests.events import Loading, Warned
from modules.sampling.denoiser import NoiseLevels
from modules.sampling.view import View


class Controls:
    """The active units of one pass. `begun`: the pictures that stand for those a unit lacks."""

    def __init__(
        self, plan: Plan, model: LoadedModel, tools: Toolbox, context: Context, begun: Sequence[Begun], *, hires: bool
    ) -> None:
        self._tools = tools
        self._model = model
        self._hires = hires
        self._clock = Clock()
        self._pictures = ControlPictures(tools.preprocessors, begun)
        self._words: dict[int, Words] = {}
        self._styles: dict[int, Tensor] = {}
        self._vectors: dict[int, Tensor] = {}
        self._latents: dict[tuple[Any, ...], list[Tensor]] = {}
        units = [(n, unit) for n, unit in enumerate(plan.request.control) if unit.active]
        limit = max(plan.options["control_net_model_cache_size"], len(units))
        self._units: list[tuple[int, ControlUnit, LoadedControl | None]] = []
        for number, unit in units:
            alone = _works_alone(number, unit, tools)
            self._pictures.of(number, unit)  # a missing picture is told before anything is loaded
            loaded = None if alone else self._load(number, unit, limit, context)
            if loaded is None and unit.module in REVISIONS:
                pooled_width(f"control.{number}.module", unit.module, model)
            elif loaded is None:
                check_reference(number, unit, plan, model)
            elif isinstance(loaded.network, LLLite):
                check_merging(plan, f'"{loaded.name}"')
            self._units.append((number, unit, loaded))

    def _load(self, number: int, unit: ControlUnit, limit: int, context: Context) -> LoadedControl:
        def reading(name: str) -> None:
            context.emit(Loading(name=name))

        field, controls = f"control.{number}.model", self._tools.controls
        loaded = controls.load(unit.model, field, self._model, low_vram=unit.low_vram, limit=limit, on_read=reading)
        if isinstance(loaded.network, TokenNetwork) and unit.control_mode != BALANCED:
            context.emit(Warned(message=unsoftened(number, unit, loaded.name, loaded.kind.label)))
        return loaded

    def stepped(self, before: Callable[[int], None], steps: int) -> Callable[[int], None]:
        """What is to be told of every step of a run of so many, which tells `before` too."""
        self._clock.steps = max(steps, 1)

        def tell(step: int) -> None:
            self._clock.step = step
            before(step)

        return tell

    @contextmanager
    def patched(self, view: View, batch: Batch, size: tuple[int, int], levels: NoiseLevels) -> Iterator[None]:
        """The model's network with all units, for that batch of pictures of width and height `size`, drawn at those levels."""
        model, moment = self._model, Moment(cell=self._model.downscale)
        network: Any = model.network
        working: list[WorkingUnit] = []
        inside: list[ImagePrompt | LiteUnit] = []
        shown: list[Reference] = []
        styles: list[StyleWords] = []
        revisions: list[Revision] = []
        for number, unit, loaded in self._units:
            if loaded is None and unit.module in REVISIONS:
                revisions.append(self._revision(number, unit, batch))
            elif loaded is None:
                shown += self._references(number, unit, batch, size)
            elif isinstance(loaded.network, IPAdapter):
                inside.append(self._image_prompt(number, unit, loaded.name, loaded.network, batch, size))
            elif isinstance(loaded.network, StyleAdapter):
                styles.append(self._style(number, unit, loaded.name, loaded.network, batch))
            elif isinstance(loaded.network, LLLite):
                inside += self._lites(number, unit, loaded.name, loaded.network, batch, size)
            else:
                working += self._working(number, unit, loaded, loaded.network, batch, size)
        references = None
        if shown:
            references = References(
                shown, model.backbone, self._clock, moment, levels.sigma, inpainting=model.inpainting
            )
        adds: Any = Units(
            working,
            view,
            self._clock,
            moment,
            references=references,
            styles=styles,
            revisions=Revisions(revisions) if revisions else None,
        )
        if any(isinstance(one.network, TokenNetwork) for one in working):
            adds = TokenUnits(working, view, self._clock, moment.cell)
        with hooks() as hook:
            for one in inside:
                one.attach(model.backbone, hook, moment)
            if references:
                references.attach(hook)
            with network.adding(adds):
                yield

    def _working(
        self,
        number: int,
        unit: ControlUnit,
        loaded: LoadedControl,
        network: ControlNetwork | TokenNetwork,
        batch: Batch,
        size: tuple[int, int],
    ) -> Iterator[WorkingUnit]:
        """The unit ready to work, once for each of several pictures that count together."""
        if isinstance(network, Union | TokenNetwork):
            network = network.told(self._union_type(unit, network.by_type), f"control.{number}.union_control_type")
        if isinstance(network, TokenNetwork):
            network = network.beside(self._model)
        unit, groups = self._grouped(unit, self._hints(number, unit, batch, size))
        for group in groups:
            yield WorkingUnit(
                unit=unit,
                network=network,
                hints=network.prepared(group, self._model) if isinstance(network, TokenNetwork) else group,
                cell=network.cell if isinstance(network, TokenNetwork) else None,
                mask=mask_of(unit, number, size),
                hires=self._hires,
                settle=loaded.settle,
            )

    def _lites(
        self, number: int, unit: ControlUnit, name: str, network: LLLite, batch: Batch, size: tuple[int, int]
    ) -> Iterator[LiteUnit]:
        """The same of a network that works inside the U-Net's layers."""
        layers, mask = network.places(self._model, name, f"control.{number}.model"), mask_of(unit, number, size)
        unit, groups = self._grouped(unit, self._hints(number, unit, batch, size))
        for group in groups:
            hints = group.to(self._model.compute.device)
            yield LiteUnit(unit=unit, hires=self._hires, layers=layers, hints=hints, mask=mask)

    def _hints(self, number: int, unit: ControlUnit, batch: Batch, size: tuple[int, int]) -> list[Tensor]:
        sources = self._pictures.of_batch(number, unit, batch)
        return [as_hint(self._pictures.map(number, unit, source, size)) for source in sources]

    @staticmethod
    def _grouped(unit: ControlUnit, hints: list[Tensor]) -> tuple[ControlUnit, list[Tensor]]:
        """Hints one a picture or one for all (P, 3, H, W); or where several count together each by itself, and the unit with its part of the weight."""
        if unit.input_mode == "merge" and len(hints) > 1:
            return unit.model_copy(update={"weight": unit.weight / len(hints)}), hints
        return unit, [torch.cat(hints)]

    def _references(self, number: int, unit: ControlUnit, batch: Batch, size: tuple[int, int]) -> Iterator[Reference]:
        """The unit's pictures as latents; of those that count together each is a reference of its own."""
        key = (number, size, batch.positions if unit.input_mode == "batch" else None)
        if key not in self._latents:
            sources = self._pictures.of_batch(number, unit, batch)
            maps = [self._pictures.map(number, unit, source, size)[:, :, :3] for source in sources]
            self._latents[key] = [self._encoded(as_hint(one)) for one in maps]
        latents = self._latents[key]
        for group in latents if unit.input_mode == "merge" else [torch.cat(latents)]:
            mask = mask_of(unit, number, size)
            yield Reference(unit=unit, hires=self._hires, latents=group, seeds=batch.seeds, mask=mask)

    def _style(self, number: int, unit: ControlUnit, name: str, adapter: StyleAdapter, batch: Batch) -> StyleWords:
        """The unit's pictures as words behind the prompt; those that count together are all said."""
        if number not in self._styles:
            vision = self._tools.controls.vision(adapter.embedded, name, whole=True)
            seen = [look(vision, one[:, :, :3], whole=True, last=True) for one in self._pictures.of(number, unit)]
            self._styles[number] = adapter.words(torch.cat(seen))
        words = _in_turn(unit, self._styles[number], batch)
        return StyleWords(
            unit=unit, hires=self._hires, words=words.flatten(0, 1)[None] if unit.input_mode == "merge" else words
        )

    def _revision(self, number: int, unit: ControlUnit, batch: Batch) -> Revision:
        """The unit's pictures as vectors; of those that count together the mean."""
        if number not in self._vectors:
            width = pooled_width(f"control.{number}.module", unit.module, self._model)
            vision = self._tools.controls.vision(width, unit.module, whole=False)
            seen = [look(vision, one[:, :, :3], whole=False) for one in self._pictures.of(number, unit)]
            self._vectors[number] = torch.cat(seen)
        vectors = augmented(_in_turn(unit, self._vectors[number], batch), unit.threshold_a, batch.seeds[0])
        if unit.input_mode == "merge":
            vectors = vectors.mean(dim=0, keepdim=True)
        return Revision(unit=unit, hires=self._hires, vectors=vectors)

    def _encoded(self, pixels: Tensor) -> Tensor:
        """Their most likely latents (1, C, h, w), on the CPU."""
        model = self._model
        size = (side // model.downscale for side in pixels.shape[-2:])
        return model.encode(pixels, torch.zeros(1, model.latent_channels, *size)).float().cpu()

    def _image_prompt(
        self, number: int, unit: ControlUnit, name: str, adapter: IPAdapter, batch: Batch, size: tuple[int, int]
    ) -> ImagePrompt:
        """The unit's pictures as words; those that count together are all said."""
        if number not in self._words:
            vision = self._tools.controls.vision(adapter.embedded, name, whole=adapter.whole)
            seen = [look(vision, one[:, :, :3], whole=adapter.whole) for one in self._pictures.of(number, unit)]
            self._words[number] = adapter.words(torch.cat(seen), look(vision, None, whole=adapter.whole))
        words = self._words[number]
        if unit.input_mode == "merge":
            count = len(words.shown)
            shown, nothing = words.shown.flatten(0, 1)[None], words.nothing.repeat(1, count, 1)
            words = Words(shown=shown, nothing=nothing)
        elif unit.input_mode == "batch":
            words = replace(words, shown=_in_turn(unit, words.shown, batch))
        mask = mask_of(unit, number, size)
        return ImagePrompt(unit=unit, hires=self._hires, adapter=adapter, words=words, mask=mask)

    def _union_type(self, unit: ControlUnit, by_type: Mapping[str, str]) -> str:
        """The kind of control that a network for several is told: the user's word, or what the preprocessor makes."""
        if unit.union_control_type != UNKNOWN:
            return unit.union_control_type
        entry = self._tools.catalogue.preprocessor(unit.module)
        return next((by_type[kind] for kind in (entry.name, *entry.types) if kind in by_type), UNKNOWN)


def _in_turn(unit: ControlUnit, each: Tensor, batch: Batch) -> Tensor:
    """What was made of the unit's pictures (P, ...), of several in turn that of each picture of the batch."""
    if unit.input_mode != "batch":
        return each
    return each[[position % len(each) for position in batch.positions]]


def _works_alone(number: int, unit: ControlUnit, tools: Toolbox) -> bool:
    """Does the unit's preprocessor control by itself, whatever its model? Raises InputError for a unit that lacks one."""
    entry = tools.catalogue.preprocessor(unit.module, f"control.{number}.module")
    if entry.model_free:
        return True
    if unit.model.strip() not in ("", NONE):
        return False
    field = f"control.{number}.model"
    raise InputError(
        field, f"{field} is None, and {entry.name} alone changes no picture. Choose a model, or turn the unit off."
    )


def check_reference(number: int, unit: ControlUnit, plan: Plan, model: LoadedModel) -> None:
    """Raise InputError where a model has no self-attention that references could be shown to, or something else is in their way."""
    field, request = f"control.{number}.module", plan.request
    if not isinstance(model.network, UNetNetwork):
        label = LABELS.get(model.family, model.family)
        raise InputError(
            field,
            f'{field} is {unit.module}, which works in the U-Nets of Stable Diffusion 1.x, 2.x and XL; "{model.name}" is of the '
            f"family {label}. Turn the unit off, or choose another checkpoint.",
        )
    if request.deep_cache:
        raise InputError(
            "deep_cache", f"deep_cache leaves out layers that {unit.module} is shown to. Turn one of them off."
        )
    if unit.effective_region_mask:
        check_merging(plan, f"the region of control.{number}")


def check_merging(plan: Plan, who: str) -> None:
    """Raise InputError if places are merged that somebody has to tell apart."""
    if ratio := plan.options["token_merging_ratio"]:
        raise InputError(
            "token_merging_ratio",
            f"token_merging_ratio is {ratio:g}: {who} cannot tell merged places apart. Set it to 0, or leave that out.",
        )


def controls_of(
    plan: Plan,
    model: LoadedModel,
    tools: Toolbox,
    context: Context,
    begun: Sequence[Begun] = (),
    *,
    hires: bool = False,
) -> Controls | None:
    """The request's units made ready, None without any; raises InputError, UnknownName, ModelFileError before anything is drawn."""
    if not any(unit.active for unit in plan.request.control):
        return None
    return Controls(plan, model, tools, context, begun, hires=hires)


def asked_of_control(plan: Plan, tools: Toolbox) -> list[str]:
    """The fields of units that change how a network computes; a ControlNet only adds to what it computes. Raises UnknownName, ModelFileError."""
    return [
        f"control.{n}" for n, unit in enumerate(plan.request.control) if unit.active and not _only_adds(n, unit, tools)
    ]


def _only_adds(number: int, unit: ControlUnit, tools: Toolbox) -> bool:
    """Is it a ControlNet?"""
    if tools.catalogue.preprocessor(unit.module, f"control.{number}.module").model_free:
        return False
    named = unit.model.strip() not in ("", NONE)
    return named and tools.controls.kind(unit.model, f"control.{number}.model").name == CONTROLNET


def named_units(plan: Plan, tools: Toolbox) -> Plan:
    """The plan with its units' models and preprocessors under the names they have here; raises UnknownName."""
    units = []
    for number, unit in enumerate(plan.request.control):
        if unit.active:
            unit = unit.model_copy(update=_named(number, unit, tools))
        units.append(unit)
    return replace(plan, request=plan.request.model_copy(update={"control": tuple(units)}))


def _named(number: int, unit: ControlUnit, tools: Toolbox) -> dict[str, Any]:
    """The names of preprocessor and model as they are here, and the numbers that -1 stands for."""
    entry = tools.catalogue.preprocessor(unit.module, f"control.{number}.module")
    sliders = (entry.resolution, entry.threshold_a, entry.threshold_b)
    asked = dict(zip(("processor_res", "threshold_a", "threshold_b"), sliders, strict=True))
    settled = {name: slider.settled(getattr(unit, name)) if slider else -1 for name, slider in asked.items()}
    settled["processor_res"] = round(settled["processor_res"])
    model = NONE
    if not entry.model_free and unit.model.strip() not in ("", NONE):
        model = tools.controls.files.find(unit.model, f"control.{number}.model").title
    return {"module": entry.name, "model": model, **settled}
