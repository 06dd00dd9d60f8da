"""What is done between jobs: asked for, or because nothing was to do for long."""

import threading
from typing import Any

import pytest

from modules.core.errors import QueueFull
from modules.core.settings import Settings
from modules.jobs.errands import MAX_WAITING, Errands
from modules.requests.events import Done, Failed
from modules.requests.models import LoadModel, UnloadModels
from tests.server import until


class Engine:
    """An executor that notes what it is asked."""

    memory: dict[str, Any] | None = None
    pid: int | None = None

    def __init__(self, answer: Done | Failed | Exception | None = None):
        self.asked = []
        self.answer = answer or Done()

    def start(self, on_catalogue): ...

    def close(self): ...

    def run(self, order, cancel, *, stall_seconds):
        self.asked.append(order.request)
        if isinstance(self.answer, Exception):
            raise self.answer
        yield self.answer


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def idle_after(minutes):
    return Settings().changed({"unload_idle_minutes": minutes})


def test_only_so_many_wait():
    errands = Errands(lambda: None)
    threads = [threading.Thread(target=errands.ask, args=(LoadModel(),)) for _ in range(MAX_WAITING)]
    for thread in threads:
        thread.start()
    until(lambda: len(errands._waiting) == MAX_WAITING, 30)
    with pytest.raises(QueueFull, match="too much besides"):
        errands.ask(LoadModel())
    errands.run(Engine(), Settings())
    for thread in threads:
        thread.join(30)


def test_unloads_once_after_so_many_minutes():
    clock, engine = Clock(), Engine()
    errands = Errands(lambda: None, clock)
    for clock.now in (0, 299, 301, 302, 900):
        errands.run(engine, idle_after(5))
    assert engine.asked == [UnloadModels()]
    errands.note_use()  # a job loaded its model again
    for clock.now in (901, 1199, 1201):
        errands.run(engine, idle_after(5))
    assert engine.asked == [UnloadModels()] * 2
    clock.now = 10_000
    errands.note_use()
    clock.now = 90_000
    errands.run(engine, idle_after(0))
    assert len(engine.asked) == 2


def test_a_failing_engine_is_not_asked_again_and_again():
    clock, engine = Clock(), Engine(RuntimeError("gone"))
    errands = Errands(lambda: None, clock)
    for clock.now in (0, 100, 200):
        errands.run(engine, idle_after(1))
    assert len(engine.asked) == 1


@pytest.mark.parametrize("answer", [Done(), Failed(kind="ModelFileError", message="no"), RuntimeError("gone")])
def test_who_asks_hears_how_it_ended(answer):
    rung = threading.Event()
    errands = Errands(rung.set)
    ended = []

    def ask():
        try:
            ended.append(errands.ask(LoadModel()))
        except RuntimeError as error:
            ended.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert rung.wait(10)
    engine = Engine(answer)
    errands.run(engine, Settings())
    thread.join(10)
    assert ended == [answer]
    assert engine.asked == [LoadModel()]


def test_nobody_waits_for_a_program_that_stops():
    rung = threading.Event()
    errands = Errands(rung.set)
    ended = []

    def ask():
        try:
            errands.ask(LoadModel())
        except QueueFull as error:
            ended.append(error.message)

    thread = threading.Thread(target=ask)
    thread.start()
    assert rung.wait(10)
    errands.close()
    thread.join(10)
    assert len(ended) == 1
    with pytest.raises(QueueFull, match="being stopped"):
        errands.ask(UnloadModels())
