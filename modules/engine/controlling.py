"""A request's ControlNet units in a run: their models loaded, their pictures made ready, their patches set."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from PIL import Image

from modules.control.face_adapter import INSTANT_ID, OWN_LORA, FaceAdapter
from modules.control.ip_adapter import ImagePrompt, IPAdapter, Words
from modules.control.lllite import LiteUnit, LLLite
from modules.control.models import LoadedControl
from modules.control.reference import Reference, References
from modules.control.revision import REVISIONS, Revision, Revisions, pooled_width
from modules.control.t2i_style import StyleAdapter, StyleWords
from modules.control.transformers.network import TokenNetwork, unsoftened
from modules.control.turns import BALANCED, Clock, Moment
from modules.control.units import TokenUnits, Units, WorkingUnit
from modules.engine.context import Context
from modules.engine.control_checks import check_faces, check_merging, check_reference, goes_by_face, works_alone
from modules.engine.control_making import UnitMaker
from modules.engine.control_pictures import Begun, ControlPictures, Pixels
from modules.engine.plan import Batch, Plan
from modules.engine.toolbox import Toolbox
from modules.families.model import LoadedModel
from modules.images.encode import encode_png
from modules.patches.hooks import hooks
from modules.requests.control import ControlUnit
from modules.requests.events import Loading, MapReady, Warned
from modules.sampling.denoiser import NoiseLevels
from modules.sampling.view import View


class Controls:
    """The active units of one pass. `begun`: the pictures that stand for those a unit lacks."""

    def __init__(
        self, plan: Plan, model: LoadedModel, tools: Toolbox, context: Context, begun: Sequence[Begun], *, hires: bool
    ) -> None:
        self._tools = tools
        self._model = model
        self._clock = Clock()
        pictures = ControlPictures(tools.preprocessors, begun)
        bare = bool(OWN_LORA.search(plan.request.prompt))
        self._make = UnitMaker(model, tools, pictures, hires=hires, bare=bare)
        units = [(n, unit) for n, unit in enumerate(plan.request.control) if unit.active]
        limit = max(plan.options["control_net_model_cache_size"], len(units))
        self._units: list[tuple[int, ControlUnit, LoadedControl | None]] = []
        for number, unit in units:
            alone = works_alone(number, unit, tools)
            pictures.of(number, unit)  # a missing picture is told before anything is loaded
            loaded = None if alone else self._load(number, unit, limit, context)
            if loaded is None and unit.module in REVISIONS:
                pooled_width(f"control.{number}.module", unit.module, model)
            elif loaded is None:
                check_reference(number, unit, plan, model)
            elif isinstance(loaded.network, LLLite):
                check_merging(plan, f'"{loaded.name}"')
            self._units.append((number, unit, loaded))
        check_faces(self._units)

    def _load(self, number: int, unit: ControlUnit, limit: int, context: Context) -> LoadedControl:
        def reading(name: str) -> None:
            context.emit(Loading(name=name))

        field, controls = f"control.{number}.model", self._tools.controls
        loaded = controls.load(unit.model, field, self._model, low_vram=unit.low_vram, limit=limit, on_read=reading)
        if isinstance(loaded.network, TokenNetwork) and unit.control_mode != BALANCED:
            context.emit(Warned(message=unsoftened(number, unit, loaded.name, loaded.kind.label)))
        return loaded

    def _faces(self, batch: Batch) -> Words | None:
        """What the first unit with Instant-ID's adapter says, which its ControlNet reads; None without one."""
        for number, unit, loaded in self._units:
            if loaded and isinstance(loaded.network, FaceAdapter) and loaded.network.kind == INSTANT_ID:
                return self._make.words(number, unit, loaded.name, loaded.network, batch)
        return None

    def maps(self, number: int) -> list[tuple[str, Pixels]]:
        """What that unit went by, (H, W, 3), each with its preprocessor's name."""
        found = (unit for at, unit, _ in self._units if at == number)
        return [(unit.module, one) for unit in found for one in self._make.pictures.shown(number, unit)]

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
        faces = self._faces(batch)
        working: list[WorkingUnit] = []
        inside: list[ImagePrompt | LiteUnit] = []
        shown: list[Reference] = []
        styles: list[StyleWords] = []
        revisions: list[Revision] = []
        for number, unit, loaded in self._units:
            if loaded is None and unit.module in REVISIONS:
                revisions.append(self._make.revision(number, unit, batch))
            elif loaded is None:
                shown += self._make.references(number, unit, batch, size)
            elif isinstance(loaded.network, IPAdapter):
                inside.append(self._make.image_prompt(number, unit, loaded.name, loaded.network, batch, size))
            elif isinstance(loaded.network, StyleAdapter):
                styles.append(self._make.style(number, unit, loaded.name, loaded.network, batch))
            elif isinstance(loaded.network, LLLite):
                inside += self._make.lites(number, unit, loaded.name, loaded.network, batch, size)
            else:
                words = faces if goes_by_face(unit, loaded) else None
                working += self._make.working(number, unit, loaded, loaded.network, batch, size, words)
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


def hand_over_maps(passes: Sequence[Controls | None], plan: Plan, context: Context) -> None:
    """Tell what the units went by in these passes, unit by unit, unless the settings leave that out."""
    if plan.options["control_net_no_detectmap"]:
        return
    for number in range(len(plan.request.control)):
        for controls in dict.fromkeys(passes):
            for module, pixels in controls.maps(number) if controls else ():
                context.emit(MapReady(module=module, data=encode_png(Image.fromarray(pixels), None)))
