"""What extensions do with every picture before it is handed over. A job never fails for them."""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image

from modules.core.errors import short
from modules.requests.events import Event, Warned

log = logging.getLogger(__name__)

PictureHook = Callable[[Image.Image, str], Image.Image | None]
"""Given a picture and its infotext: the picture to hand over instead, or None for the same."""

PATIENCE = 30.0
"""Seconds that one call may take; one that takes longer is not made again."""
TRIES = 3


@dataclass
class Hook:
    """One callback of an extension, and how often it failed."""

    extension: str
    call: PictureHook
    failures: int = 0


@dataclass
class Hooks:
    """All of them, in the order in which they came."""

    found: list[Hook] = field(default_factory=list)
    patience: float = PATIENCE

    def add(self, extension: str, call: PictureHook) -> None:
        """One more."""
        self.found.append(Hook(extension, call))

    def picture(self, image: Image.Image, infotext: str, emit: Callable[[Event], None]) -> Image.Image:
        """The picture as they leave it. One that fails is told of and passed over, from its third failure on for good."""
        for hook in self.found:
            if hook.failures >= TRIES:
                continue
            try:
                image = self._called(hook, image, infotext)
            except Exception as error:
                hook.failures += 1
                end = " It is not called any more." if hook.failures >= TRIES else ""
                log.warning("extension %s: %s", hook.extension, error)
                said = short(f"{type(error).__name__}: {error}", 200)
                emit(Warned(message=f'The extension "{hook.extension}" failed: {said}.{end}'))
        return image

    def _called(self, hook: Hook, image: Image.Image, infotext: str) -> Image.Image:
        answers: queue.SimpleQueue[object] = queue.SimpleQueue()

        def work() -> None:
            try:
                answers.put(hook.call(image.copy(), infotext))
            except BaseException as error:
                answers.put(error)

        threading.Thread(target=work, name=f"extension {hook.extension}", daemon=True).start()
        try:
            found = answers.get(timeout=self.patience)
        except queue.Empty:
            hook.failures = TRIES  # its thread may still be at it
            raise TimeoutError(f"no answer after {self.patience:.0f} s") from None
        if isinstance(found, BaseException):
            raise RuntimeError(f"{type(found).__name__}: {found}") from found
        if found is None:
            return image
        if not isinstance(found, Image.Image):
            raise TypeError(f"it gave {type(found).__name__}, and no picture")
        return found
