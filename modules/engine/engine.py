"""Runs orders, one at a time, and turns what happens into events."""

import logging
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from importlib import import_module
from typing import Any

import torch

from modules.core.errors import AtelierError, Cancelled, EngineDied, InputError, NotANumber
from modules.devices.faults import gpu_lost
from modules.devices.memory import memory_figures
from modules.engine.context import Context
from modules.engine.detail import with_detail
from modules.engine.detecting import detect
from modules.engine.errands import load_model, unload_models
from modules.engine.extras import extras
from modules.engine.img2img import img2img
from modules.engine.meaning import meaning
from modules.engine.merging import extract_lora, merge_checkpoints, merge_loras
from modules.engine.scripts import run_script
from modules.engine.selecting import select_in_picture
from modules.engine.templates import with_templates
from modules.engine.toolbox import Toolbox
from modules.engine.txt2img import txt2img
from modules.jobs.executors.base import Cancel
from modules.requests.catalogue import Catalogue
from modules.requests.control import DetectRequest
from modules.requests.events import Done, Event, Failed, ImageReady, Order, Warned
from modules.requests.extras import ExtrasRequest
from modules.requests.generation import GenerationRequest
from modules.requests.img2img import Img2ImgRequest
from modules.requests.meaning import MeaningRequest
from modules.requests.merge import ExtractLoraRequest, MergeLorasRequest, MergeRequest
from modules.requests.models import LoadModel, UnloadModels
from modules.requests.select import SelectRequest
from modules.requests.txt2img import Txt2ImgRequest

log = logging.getLogger(__name__)

LATER = "diffusers.models.unets.unet_2d_condition"
"""Takes seconds to import, and is needed for the first LoRA where OpenVINO computes: what had been converted before was loaded without it."""

LESS = "The GPU had too little memory; it goes on with less of the model there, more slowly."

Recipe = Callable[[Order, Toolbox, Context], Done]


class Engine:
    """Picks the recipe by the request's type. All computing happens in one thread of its own."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._recipes: dict[type, Recipe] = {
            Txt2ImgRequest: with_templates(with_detail(txt2img, img2img)),
            ExtrasRequest: extras,
            Img2ImgRequest: with_templates(with_detail(img2img, img2img)),
            MergeRequest: merge_checkpoints,
            ExtractLoraRequest: extract_lora,
            MergeLorasRequest: merge_loras,
            DetectRequest: detect,
            LoadModel: load_model,
            MeaningRequest: meaning,
            SelectRequest: select_in_picture,
            UnloadModels: unload_models,
        }
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")
        self._warmed = False

    @property
    def catalogue(self) -> Catalogue:
        """What this engine can do."""
        return self._tools.catalogue

    def memory(self) -> dict[str, Any] | None:
        """The GPU's memory in A1111's figures; None without one."""
        with suppress(RuntimeError):  # a GPU that is lost; the next order tells of it
            return memory_figures(self._tools.models.device)
        return None

    def warm(self, checkpoint: str) -> None:
        """Begin to load a checkpoint and return at once; a failure is told when a job asks for it."""
        self._warmed = True
        self._thread.submit(self._load_quietly, checkpoint)

    def run(self, order: Order, cancel: Cancel) -> Iterator[Event]:
        """The events of one order; the last is Done or Failed. Raises EngineDied when this process can use the GPU no more."""
        events: queue.SimpleQueue[Event | EngineDied] = queue.SimpleQueue()
        self._thread.submit(
            self._work, order, Context(emit=events.put, cancel=cancel, hooks=self._tools.hooks), events.put
        )
        while True:
            event = events.get()
            if isinstance(event, EngineDied):
                raise event
            yield event
            if isinstance(event, Done | Failed):
                return

    def _work(self, order: Order, context: Context, die: Callable[[EngineDied], None]) -> None:
        try:
            with torch.inference_mode():
                context.emit(self._done(order, context))
        except Cancelled:  # before the first picture was begun
            context.emit(Done(stopped=True))
        except AtelierError as error:
            field = error.field if isinstance(error, InputError) else None
            context.emit(Failed(kind=type(error).__name__, message=error.message, field=field))
        except (torch.OutOfMemoryError, MemoryError):
            log.exception("job %s", order.job)
            context.emit(
                Failed(
                    kind="OutOfMemory",
                    message="The device has too little memory for this. Make the picture or the batch smaller, or close other programs that use it.",
                )
            )
        except Exception as error:
            log.exception("job %s", order.job)
            if lost := gpu_lost(error):
                die(EngineDied(lost))
                return
            context.emit(
                Failed(
                    kind="EngineError",
                    message=f"The engine made a mistake ({type(error).__name__}). The log says more; the next job is not affected.",
                )
            )
        if self._warmed and isinstance(order.request, GenerationRequest):  # while its picture is looked at, and in this
            self._warmed = False  # thread: two that import what imports one another may each find half of it
            self._thread.submit(import_module, LATER)

    def _done(self, order: Order, context: Context) -> Done:
        """What the order comes to: as its script draws it, if it has one, or as its recipe does."""
        name = getattr(order.request, "script_name", None)
        if name is None:
            return self._drawn(order, context)
        tools = self._tools
        return run_script(tools.scripts.get(name), order, context, self._drawn, tools.catalogue, tools.upscalers)

    def _drawn(self, order: Order, context: Context) -> Done:
        """What the recipe comes to; it is tried again with less of the model on the device when that had too little memory, and
        more precisely when it gave NaN."""
        recipe, delivered = self._recipes[type(order.request)], set(order.done)

        def emit(event: Event) -> None:
            if isinstance(event, ImageReady):
                delivered.add(event.index)
            context.emit(event)

        while True:
            try:
                with ExitStack() as undo:
                    again = replace(order, done=frozenset(delivered))
                    return recipe(again, self._tools, replace(context, emit=emit, undo=undo))
            except (torch.OutOfMemoryError, MemoryError):
                self._tools.controls.unload()
                self._tools.preprocessors.unload()
                self._tools.meanings.unload()
                if not self._tools.models.lower():
                    raise
                log.exception("job %s", order.job)
                said = LESS
            except NotANumber as error:
                mended = error.mend()
                if not mended:
                    raise
                said = mended
            context.emit(Warned(message=said))

    def _load_quietly(self, checkpoint: str) -> None:
        try:
            with torch.inference_mode():
                models = self._tools.models
                (models.load_whole if models.is_whole(checkpoint) else models.load)(checkpoint)
        except AtelierError as error:
            log.warning("%s", error.message)
        except Exception:
            log.exception("loading %s", checkpoint)
