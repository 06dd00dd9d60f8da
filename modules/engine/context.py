"""What a recipe may tell and ask while it works."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from modules.core.errors import Cancelled
from modules.engine.hooks import Hooks
from modules.jobs.executors.base import Cancel
from modules.requests.events import Event


class Moments:
    """What a script does while a recipe works: here, nothing."""

    def patch(self, model: Any) -> AbstractContextManager[Any]:
        """How the loaded model is changed while pictures are drawn."""
        return nullcontext()

    def on_step(self, step: int, latents: Any) -> None:
        """After step number `step` (from 1), with the latents (B, C, h, w) it heads for; may raise Cancelled."""

    def postprocess(self, image: Image.Image) -> Image.Image:
        """The picture to hand over instead of that one."""
        return image


@dataclass(frozen=True, kw_only=True)
class Context:
    """`emit` hands an event to whoever watches; `cancel` holds the user's wishes; `undo` is closed when the recipe ends.

    `stepped(n)` is called when n steps of a batch are done, 0 included. `moments` are a script's, `hooks` those of extensions. `part`: what is
    drawn is a part of a picture, like a tile.
    """

    emit: Callable[[Event], None]
    cancel: Cancel
    undo: ExitStack = field(default_factory=ExitStack)
    stepped: Callable[[int], None] = lambda step: None
    moments: Moments = field(default_factory=Moments)
    hooks: Hooks = field(default_factory=Hooks)
    part: bool = False

    @property
    def ending(self) -> bool:
        """No further picture is to be begun."""
        return self.cancel.interrupted or (not self.part and self.cancel.ending)

    def check_interrupted(self) -> None:
        """Raise Cancelled if the user asked to stop the job."""
        if self.cancel.interrupted:
            raise Cancelled

    def check(self) -> None:
        """Raise Cancelled if the user asked to stop the job or skip the batch."""
        if self.cancel.interrupted or self.cancel.take_skip():
            raise Cancelled
