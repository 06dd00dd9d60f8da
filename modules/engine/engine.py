"""Runs orders, one at a time, and turns what happens into events."""

import logging
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from modules.core.errors import AtelierError, InputError
from modules.engine.context import Context
from modules.engine.toolbox import Toolbox
from modules.engine.txt2img import txt2img
from modules.jobs.executors.base import Cancel
from modules.requests.catalogue import Catalogue
from modules.requests.events import Done, Event, Failed, Order
from modules.requests.txt2img import Txt2ImgRequest

log = logging.getLogger(__name__)

Recipe = Callable[[Order, Toolbox, Context], Done]


class Engine:
    """Picks the recipe by the request's type. All computing happens in one thread of its own."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._recipes: dict[type, Recipe] = {Txt2ImgRequest: txt2img}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")

    @property
    def catalogue(self) -> Catalogue:
        """What this engine can do."""
        return self._tools.catalogue

    def warm(self, checkpoint: str) -> None:
        """Begin to load a checkpoint and return at once; a failure is told when a job asks for it."""
        self._thread.submit(self._load_quietly, checkpoint)

    def run(self, order: Order, cancel: Cancel) -> Iterator[Event]:
        """The events of one order; the last is Done or Failed. Raises nothing."""
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._thread.submit(self._work, order, Context(emit=events.put, cancel=cancel))
        while True:
            event = events.get()
            yield event
            if isinstance(event, Done | Failed):
                return

    def _work(self, order: Order, context: Context) -> None:
        try:
            with torch.inference_mode():
                context.emit(self._recipes[type(order.request)](order, self._tools, context))
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
            context.emit(
                Failed(
                    kind="EngineError",
                    message=f"The engine made a mistake ({type(error).__name__}). The log says more; the next job is not affected.",
                )
            )

    def _load_quietly(self, checkpoint: str) -> None:
        try:
            with torch.inference_mode():
                self._tools.models.load(checkpoint)
        except AtelierError as error:
            log.warning("%s", error.message)
        except Exception:
            log.exception("loading %s", checkpoint)
