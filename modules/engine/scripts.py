"""Scripts: what may happen around and instead of one job's drawing, and the little they need to know of the engine."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from PIL import Image

from modules.core.errors import Cancelled
from modules.core.settings import Settings
from modules.engine.context import Context, Moments
from modules.images.encode import encode_image, grid_format
from modules.images.infotext import parse_infotext
from modules.images.reading import decoded
from modules.library.extras_files import ExtrasFiles
from modules.library.upscalers import NONE
from modules.requests.catalogue import Catalogue
from modules.requests.events import (
    FIRST_GRID,
    FIRST_WORK,
    CopyReady,
    Done,
    Event,
    ImageReady,
    MapReady,
    Order,
    Progress,
    Warned,
)
from modules.requests.generation import GenerationRequest
from modules.requests.scripts import FIELD, ScriptEntry, ScriptField
from modules.requests.txt2img import Txt2ImgRequest
from modules.upscale.upscalers import Upscalers

Values = Mapping[str, Any]
"""A script's values by the names of its fields, checked."""

WORK = {"samples_format": "bmp"}
"""How pictures that only a script sees travel: quickly, and without loss."""

Draw = Callable[[Order, Context], Done]
"""A recipe with everything that goes with it: what an order without a script comes to."""


class Script:
    """Six moments, each of which does nothing unless a script says otherwise.

    `fields`: what it asks of the user, on that tab. `plan`: the request to draw instead. `patch`: how the loaded model is changed until the
    pictures are done. `on_step`: after each step (from 1) with the latents (B, C, h, w) it is heading for; may raise Cancelled.
    `postprocess`: the picture to hand over. `run`: the drawing as a whole, by default of the one request.
    """

    title: str
    tabs: Sequence[str] = ("txt2img", "img2img")

    def fields(self, tab: str) -> tuple[ScriptField, ...]:
        """What it asks of the user, in the order of A1111's arguments."""
        return ()

    def plan(self, request: GenerationRequest, values: Values) -> GenerationRequest:
        """The request to draw instead of that one; raises InputError."""
        return request

    def patch(self, model: Any, values: Values) -> AbstractContextManager[Any]:
        """Entered before the first step, left behind the last picture; it leaves the model as it was."""
        return nullcontext()

    def on_step(self, step: int, latents: Any, values: Values) -> None:
        """After each step."""

    def postprocess(self, image: Image.Image, values: Values) -> Image.Image:
        """The picture to hand over instead of that one, of any size."""
        return image

    def run(self, request: GenerationRequest, values: Values, api: "EngineAPI") -> None:
        """Draw; every picture is handed over as soon as it is there."""
        api.draw(request)

    def entry(self) -> ScriptEntry:
        """What the page and the API need to know."""
        return ScriptEntry(name=self.title, fields={tab: self.fields(tab) for tab in self.tabs})


class ScriptMoments(Moments):
    """A script with its values, as the drawing asks it."""

    def __init__(self, script: Script, values: Values) -> None:
        self._script = script
        self._values = values

    def patch(self, model: Any) -> AbstractContextManager[Any]:
        """See Script."""
        return self._script.patch(model, self._values)

    def on_step(self, step: int, latents: Any) -> None:
        """See Script."""
        self._script.on_step(step, latents, self._values)

    def postprocess(self, image: Image.Image) -> Image.Image:
        """See Script."""
        return self._script.postprocess(image, self._values)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A picture that the job has."""

    event: ImageReady

    @property
    def image(self) -> Image.Image:
        """It, decoded."""
        return decoded("image", self.event.data)

    @property
    def infotext(self) -> str:
        """How it was made."""
        return self.event.infotext


class EngineAPI:
    """What a script may do during one order. Pictures have numbers across the whole job: those that an earlier try has made are
    not drawn again but handed back."""

    def __init__(self, order: Order, context: Context, draw: Draw, catalogue: Catalogue, upscalers: Upscalers) -> None:
        self.seed = order.seed
        self.options = order.options
        self.catalogue = catalogue
        self.stopped = False
        self._order = order
        self._context = context
        self._draw = draw
        self._upscalers = upscalers
        self._kept = {event.index: event for event in order.kept}
        self._next = 0
        self._works = FIRST_WORK
        self._drawn = 0
        self._expected = 1
        self._told: set[str] = set()
        self._infos: dict[int, dict[str, Any]] = {}
        self._grids = 0
        self._hidden: list[int] = []

    def expect(self, draws: int) -> None:
        """Say how often `draw` and `sketch` will be called, for the progress of the job."""
        self._expected = max(draws, 1)

    def draw(
        self, request: GenerationRequest, *, at: int | None = None, notes: Mapping[str, Any] | None = None
    ) -> list[Drawn]:
        """The pictures of that request, drawn and handed over; `at` is the number of the first (else they go on from the last),
        `notes` are more fields of their infotexts. After the user has stopped the job: what there is. Raises InputError."""
        start = self._next if at is None else at
        self._next = start + request.count
        return self._made(request, start, notes or {}, self.options_of(request))

    def sketch(self, request: GenerationRequest, notes: Mapping[str, Any] | None = None) -> list[Drawn]:
        """The same for pictures that only the script sees, without loss of quality, whatever the settings say."""
        start = self._works
        self._works += request.count
        return self._made(request, start, notes or {}, {**self.options_of(request), **WORK})

    def hand_over(self, image: Image.Image, infotext: str, *, incomplete: bool = False, keep: bool = True) -> None:
        """Hand over a picture made of sketches as the job's next one; `keep`: it goes among the user's outputs."""
        index = self._next
        self._next += 1
        if index in self._kept:
            return
        data = encode_image(image, infotext if self.options["enable_pnginfo"] else None, self.options)
        fields = pattern_fields(infotext, image.size, self.seed)
        self._emit(
            index,
            ImageReady(
                index=0, data=data, infotext=infotext, seed=fields["seed"], fields=fields, incomplete=incomplete
            ),
            keep=keep and self._order.request.save_images,
        )

    def upscaled(self, image: Image.Image, name: str | int, scale: float) -> tuple[Image.Image, str]:
        """The picture (RGB) larger by `scale`, by the upscaler of that name or place in the list, and that one's name; None leaves it
        as it is. Raises UnknownName, ModelFileError and Cancelled."""
        found = self._upscalers.get(self.upscaler_name(name), self.options, FIELD)
        if found.name == NONE:
            return image, found.name
        return found.upscale(image, scale, check=self._context.check_interrupted), found.name

    def upscaler_name(self, name: str | int) -> str:
        """The upscaler's name, given that or its place in the list; raises UnknownName."""
        return self._upscalers.get(self._upscalers.files.called(name, FIELD), self.options, FIELD).name

    def caption(self, image: Image.Image, *, tags: bool = False) -> str:
        """A sentence about the picture, or its tags; raises InputError where there is no model that writes such, ModelFileError."""
        files, networks = ExtrasFiles(self._upscalers.files.paths), self._upscalers.networks
        if tags:
            return networks.tagger(files.tagger(FIELD)).tell(image, self.options)
        return networks.captioner(files.captioner(FIELD)).tell(image, self.options)

    def options_of(self, request: GenerationRequest) -> dict[str, Any]:
        """The settings that a request is drawn with; raises InputError."""
        known = Settings().flat()
        options = {name: value for name, value in self.options.items() if name in known}
        changed = Settings().changed({**options, **request.override_settings}).flat()
        return {**self.options, **changed}

    def grid(self, image: Image.Image, infotext: str, name: str, *, shown: bool = True) -> None:
        """Hand over a grid, after those before it; its file's name begins with `name`."""
        index = FIRST_GRID + self._grids
        self._grids += 1
        if not shown:
            self._hidden.append(index)
        if index in self._order.done:
            return
        data = encode_image(image, infotext if self.options["enable_pnginfo"] else None, grid_format(self.options))
        fields = pattern_fields(infotext, image.size, self.seed)
        event = ImageReady(index=index, data=data, infotext=infotext, seed=self.seed, fields=fields, grid=name)
        self._context.emit(event)

    def hide(self, drawn: Sequence[Drawn]) -> None:
        """Leave these out of the job's results; they stay among the saved pictures."""
        self._hidden.extend(one.event.index for one in drawn)

    def ending(self) -> bool:
        """Whether the user has stopped the job: to be asked before a picture is made of sketches."""
        self.stopped = self.stopped or self._context.ending
        return self.stopped

    def warn(self, message: str) -> None:
        """Tell the user something, once."""
        self._emit(0, Warned(message=message))

    def info(self) -> dict[str, Any]:
        """What the whole job tells in A1111's `info`."""
        found = dict(next(iter(self._infos.values()), {}))
        last = max((index for index in self._kept if index < FIRST_WORK), default=-1) + 1
        texts = [parse_infotext(self._kept[i].infotext if i in self._kept else "") for i in range(last)]
        found["all_prompts"] = [text.prompt for text in texts]
        found["all_negative_prompts"] = [text.negative_prompt for text in texts]
        found["all_subseeds"] = [self._subseed(i) for i in range(last)]
        found["hidden"] = self._hidden
        return found

    def _subseed(self, position: int) -> int:
        start = max((start for start in self._infos if start <= position), default=position)
        subseeds = self._infos.get(start, {}).get("all_subseeds", [])
        return subseeds[position - start] if position - start < len(subseeds) else -1

    def _made(
        self, request: GenerationRequest, start: int, notes: Mapping[str, Any], options: dict[str, Any]
    ) -> list[Drawn]:
        """The pictures of that request, the first being number `start`: those there are, and the others drawn."""
        positions = range(start, start + request.count)
        have = frozenset(position - start for position in positions if position in self._kept)
        part = start >= FIRST_WORK
        if len(have) < request.count and not (self.stopped if part else self.ending()):
            emit = partial(self._emit, start, keep=request.save_images and not part)
            order = replace(
                self._order,
                request=request,
                seed=request.seed if request.seed >= 0 else self.seed,
                options=options,
                done=have,
                kept=tuple(replace(self._kept[start + i], index=i) for i in have),
                notes={**self._order.notes, **notes},
            )
            try:
                done = self._draw(order, replace(self._context, emit=emit, part=part))
            except Cancelled:
                self.stopped = True
            else:
                self.stopped = done.stopped
                self._infos[start] = done.info
        self._drawn += 1
        return [Drawn(event=self._kept[position]) for position in positions if position in self._kept]

    def _emit(self, start: int, event: Event, keep: bool = True) -> None:
        """Hand on what happens in one drawing as a part of the whole job."""
        if isinstance(event, ImageReady):
            index = event.index + start
            event = replace(event, index=index, keep=keep, fields={**event.fields, "generation_number": index + 1})
            self._kept[index] = event
        elif isinstance(event, MapReady | CopyReady):
            if start >= FIRST_WORK:  # as of every tile
                return
        elif isinstance(event, Progress):
            steps, done = event.steps * event.batches, event.batch * event.steps + event.step
            expected = max(self._expected, self._drawn + 1)
            event = replace(event, batch=self._drawn, batches=expected, step=min(done, steps), steps=steps)
        elif isinstance(event, Warned):
            if event.message in self._told:
                return
            self._told.add(event.message)
        self._context.emit(event)


def pattern_fields(infotext: str, size: tuple[int, int], seed: int) -> dict[str, Any]:
    """The values of file-name patterns for a picture of that size that is made of others, one of which has that infotext."""
    parsed = parse_infotext(infotext)
    names = {"steps": "Steps", "cfg": "CFG scale", "sampler": "Sampler", "scheduler": "Schedule type"}
    names |= {"model_hash": "Model hash", "model_name": "Model"}
    told = str(parsed.fields.get("Seed", ""))
    return {
        **{name: parsed.fields.get(key, "") for name, key in names.items()},
        "seed": int(told) if told.isdigit() else seed,
        "width": size[0],
        "height": size[1],
        "prompt": parsed.prompt,
        "job_timestamp": datetime.now().strftime("%Y%m%d%H%M%S"),
        "batch_number": 1,
    }


def run_script(
    script: Script, order: Order, context: Context, draw: Draw, catalogue: Catalogue, upscalers: Upscalers
) -> Done:
    """The order as the script draws it."""
    request: GenerationRequest = order.request
    tab = "txt2img" if isinstance(request, Txt2ImgRequest) else "img2img"
    values = script.entry().values(tab, request.script_args)
    plain = request.model_copy(update={"script_name": None, "script_args": ()})
    planned = script.plan(plain, values)
    context = replace(context, moments=ScriptMoments(script, values))
    api = EngineAPI(order, context, draw, catalogue, upscalers)
    try:
        script.run(planned, values, api)
    except Cancelled:  # between two drawings
        api.stopped = True
    return Done(info=api.info(), stopped=api.stopped)
