"""A stand-in engine for tests about the queue: it does what the prompt, a JSON object, tells it.

pause    seconds between two steps
wait     "interrupt", "finish" or "skip": block before the first step of every batch until that is asked
die      at which picture (from 0) to kill its own process
lost     a sentence: raise EngineDied with it at once
once     a file: die, or be lost, only if it does not exist, and create it
fail     a sentence: end with Failed after the first picture
raise    a sentence: raise RuntimeError at once
hang     at which picture to say nothing any more
says     what the infotexts begin with, in place of the picture's number
size     bytes of noise in every picture
"""

import io
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from modules.core.errors import EngineDied
from modules.images.encode import encode_png
from modules.jobs.executors.base import Cancel
from modules.requests.catalogue import Catalogue, read_catalogue
from modules.requests.events import Done, Event, Failed, ImageReady, Loading, Order, Preview, Progress, Warned


def build_puppet(log: str | None = None) -> "Puppet":
    """For ProcessExecutor: "tests.jobs.runners:build_puppet". `log`: a file that gets a line for every picture drawn."""
    return Puppet(Path(log) if log else None)


def build_broken() -> "Puppet":
    """An engine that cannot be built."""
    raise RuntimeError("no such device")


class Puppet:
    """A Runner."""

    def __init__(self, log: Path | None = None) -> None:
        self._log = log

    @property
    def catalogue(self) -> Catalogue:
        """The shipped one."""
        return read_catalogue(Path("/nonexistent"))

    def memory(self) -> None:
        """It has no GPU."""

    def run(self, order: Order, cancel: Cancel) -> Iterator[Event]:
        """The events of one order."""
        request, play = order.request, json.loads(order.request.prompt or "{}")
        if "raises" in play:
            raise RuntimeError(play["raises"])
        if "lost" in play and not ("once" in play and Path(play["once"]).exists()):
            if "once" in play:
                Path(play["once"]).touch()
            raise EngineDied(play["lost"])
        yield Loading(name="puppet")
        for batch in range(request.n_iter):
            positions = [batch * request.batch_size + i for i in range(request.batch_size)]
            if order.done.issuperset(positions):
                continue
            if cancel.ending:
                yield Done(info={"steps": request.steps}, stopped=True)
                return
            skipped = yield from self._steps(batch, order, play, cancel)
            if cancel.interrupted:
                yield Done(info={"steps": request.steps}, stopped=True)
                return
            for position in positions:
                if position not in order.done and not skipped:
                    yield self._picture(order, position, play)
            if "fail" in play:
                yield Failed(kind="ModelFileError", message=play["fail"], field=None)
                return
        if "warn" in play:
            yield Warned(message=play["warn"])
        yield Done(info={"steps": request.steps, "job_timestamp": "20260101000000"})

    def _steps(self, batch: int, order: Order, play: dict, cancel: Cancel) -> Iterator[Event]:
        request = order.request
        yield Progress(batch=batch, batches=request.n_iter, step=0, steps=request.steps)
        while play.get("wait") == "interrupt" and not cancel.interrupted:
            time.sleep(0.005)
        while play.get("wait") == "finish" and not cancel.ending:
            time.sleep(0.005)
        if play.get("wait") == "skip":
            while not cancel.take_skip():
                time.sleep(0.005)
            return True
        for step in range(1, request.steps + 1):
            time.sleep(play.get("pause", 0))
            yield Progress(batch=batch, batches=request.n_iter, step=step, steps=request.steps)
            if step == 1:
                yield Preview(data=b"preview", mime="image/jpeg")
            if cancel.interrupted:
                return False
            if cancel.take_skip():
                return True
        return False

    def _picture(self, order: Order, position: int, play: dict) -> ImageReady:
        if play.get("die") == position and not ("once" in play and Path(play["once"]).exists()):
            if "once" in play:
                Path(play["once"]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if play.get("hang") == position:
            time.sleep(3600)
        if self._log:
            with self._log.open("a") as log:
                log.write(f"{order.job} {position}\n")
        said = play.get("says", f"picture {position}")
        infotext = f"{said}\nSteps: {order.request.steps}, Seed: {order.seed + position}, Sampler: Euler"
        return ImageReady(
            index=position,
            data=encode_png(noise(order.seed + position, play.get("size", 0)), infotext),
            infotext=infotext,
            seed=order.seed + position,
            fields={"seed": order.seed + position, "prompt": f"picture {position}"},
        )


def noise(seed: int, size: int = 0) -> Image.Image:
    """A small picture that its seed tells apart."""
    side = max(8, int((size / 3) ** 0.5))
    return Image.frombytes("RGB", (side, side), random.Random(seed).randbytes(side * side * 3))


def opens_whole(data: bytes) -> bool:
    """Whether `data` is a PNG that decodes to the end."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()
    except (OSError, SyntaxError):
        return False
    return True
