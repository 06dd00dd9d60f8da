"""The contract of executors: the same events whatever runs the order."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from modules.core.errors import EngineDied
from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.jobs.executors.base import Cancel, Executor, Wish
from modules.jobs.executors.inline import InlineExecutor
from modules.jobs.executors.process import ProcessExecutor
from modules.jobs.executors.shortage import memory_kills
from modules.requests.catalogue import Catalogue
from modules.requests.events import Done, Event, Failed, ImageReady, Order, Progress
from modules.requests.txt2img import Txt2ImgRequest, make_request
from tests.jobs.helpers import play, puppet_inline, puppet_process
from tests.server import until
from tests.tiny import write_tiny

KINDS: dict[str, Callable[[], Executor]] = {"inline": puppet_inline, "process": puppet_process}


@pytest.fixture(params=KINDS)
def executor(request) -> Iterator[Executor]:
    found = KINDS[request.param]()
    found.start(lambda catalogue: None)
    yield found
    found.close()


@pytest.fixture
def process() -> Iterator[ProcessExecutor]:
    found = puppet_process()
    found.start(lambda catalogue: None)
    yield found
    found.close()


def order(request: Txt2ImgRequest, done: frozenset[int] = frozenset(), options: dict | None = None) -> Order:
    return Order(job="job", request=request, seed=7, options=options or Settings().flat(), done=done)


def events_of(executor: Executor, given: Order, *, ask: Wish | None = None, stall: float = 60) -> list[Event]:
    """All events; `ask` is asked at the first progress of every batch."""
    cancel, events = Cancel(), []
    for event in executor.run(given, cancel, stall_seconds=stall):
        events.append(event)
        if ask and isinstance(event, Progress) and event.step == 0:
            cancel.ask(ask)
    return events


def expected(given: Order, *, ask: Wish | None = None) -> list[Event]:
    """What the stand-in says when it is called without any executor."""
    runner, cancel, events = puppet_inline()._build(), Cancel(), []
    for event in runner.run(given, cancel):
        events.append(event)
        if ask and isinstance(event, Progress) and event.step == 0:
            cancel.ask(ask)
    return events


def test_success(executor):
    given = order(play(n_iter=2, batch_size=2))
    events = events_of(executor, given)
    assert events == expected(given)
    assert [e.index for e in events if isinstance(e, ImageReady)] == [0, 1, 2, 3]
    assert isinstance(events[-1], Done)


def test_failure(executor):
    given = order(play(fail="The file is broken."))
    events = events_of(executor, given)
    assert events == expected(given)
    assert events[-1] == Failed(kind="ModelFileError", message="The file is broken.")


def test_interrupt(executor):
    given = order(play(n_iter=3, wait="interrupt"))
    events = events_of(executor, given, ask="interrupt")
    assert events == expected(given, ask="interrupt")
    assert events[-1] == Done(info={"steps": 2}, stopped=True)


def test_finish(executor):
    given = order(play(n_iter=3, batch_size=2, wait="finish"))
    events = events_of(executor, given, ask="finish")
    assert events == expected(given, ask="finish")
    assert [e.index for e in events if isinstance(e, ImageReady)] == [0, 1]
    assert events[-1] == Done(info={"steps": 2}, stopped=True)


def test_skip(executor):
    given = order(play(n_iter=2, wait="skip"))
    events = events_of(executor, given, ask="skip")
    assert events == expected(given, ask="skip")
    assert [e.batch for e in events if isinstance(e, Progress)] == [0, 1]


def test_a_wish_from_before_the_start_counts(executor):
    cancel = Cancel()
    cancel.ask("interrupt")
    events = list(executor.run(order(play(n_iter=3, wait="interrupt")), cancel, stall_seconds=60))
    assert isinstance(events[-1], Done)
    assert events[-1].stopped


def test_finished_pictures_are_left_out(executor):
    events = events_of(executor, order(play(n_iter=2, batch_size=2), done=frozenset({0, 1, 2})))
    assert [e.index for e in events if isinstance(e, ImageReady)] == [3]


def test_an_order_that_is_given_up_does_not_leak_into_the_next(executor):
    run = executor.run(order(play(n_iter=50, pause=0.01)), Cancel(), stall_seconds=60)
    for event in run:
        if isinstance(event, ImageReady):
            break
    run.close()
    given = order(play(n_iter=1, steps=3))
    assert events_of(executor, given) == expected(given)


def test_catalogue_is_published(executor):
    found: list[Catalogue] = []
    executor.close()
    again = KINDS["inline" if isinstance(executor, InlineExecutor) else "process"]()
    again.start(found.append)
    until(lambda: (getattr(again, "poll", lambda: None)(), found)[1], 60)
    again.close()
    assert found[0].samplers


def test_death_in_the_middle(process):
    cancel, events = Cancel(), []
    with pytest.raises(EngineDied, match="SIGKILL"):
        for event in process.run(order(play(n_iter=3, die=1)), cancel, stall_seconds=60):
            events.append(event)
    assert [e.index for e in events if isinstance(e, ImageReady)] == [0]
    given = order(play())
    assert events_of(process, given) == expected(given)


def test_exception_in_the_engine_is_its_end(process):
    with pytest.raises(EngineDied, match="exit code 1"):
        events_of(process, order(play(raises="a mistake")))


def test_silence_is_death(process):
    assert isinstance(events_of(process, order(play()))[-1], Done)
    with pytest.raises(EngineDied, match="no sign of life"):
        events_of(process, order(play(hang=0)), stall=1)
    assert isinstance(events_of(process, order(play()))[-1], Done)


def test_R19_what_hangs_writes_down_where(capfd):
    process = puppet_process()  # inherits what is captured now
    try:
        assert isinstance(events_of(process, order(play()))[-1], Done)
        with pytest.raises(EngineDied, match="no sign of life"):
            events_of(process, order(play(hang=0)), stall=1)
        assert "runners.py" in capfd.readouterr().err
        assert isinstance(events_of(process, order(play()))[-1], Done)
    finally:
        process.close()


@pytest.mark.parametrize("kind", KINDS)
def test_R4_an_engine_that_gives_up_says_why(kind):
    executor = KINDS[kind]()
    executor.start(lambda catalogue: None)
    try:
        with pytest.raises(EngineDied, match="The GPU failed"):
            events_of(executor, order(play(lost="The GPU failed.")))
        assert isinstance(events_of(executor, order(play()))[-1], Done)
    finally:
        executor.close()


def test_R5_killed_for_want_of_memory(process, monkeypatch):
    killed = []
    before = memory_kills()  # this machine may have ended others
    monkeypatch.setattr("modules.jobs.executors.process.memory_kills", lambda: before + len(killed))
    assert isinstance(events_of(process, order(play()))[-1], Done)
    killed.append(process.pid)
    with pytest.raises(EngineDied, match="The system ran out of memory and ended the engine"):
        events_of(process, order(play(die=0)))
    with pytest.raises(EngineDied, match="SIGKILL"):  # nothing was ended so since the restart
        events_of(process, order(play(die=0)))


def test_R5_the_system_counts_whom_it_ends(tmp_path):
    (tmp_path / "vmstat").write_text("pgfault 7\noom_kill 3\n")
    (tmp_path / "memory.events").write_text("low 0\noom 9\noom_kill 2\noom_group_kill 5\n")
    (tmp_path / "broken").write_text("oom_kill x\noom_kill\n")
    files = tuple(tmp_path / name for name in ("vmstat", "memory.events", "broken", "none"))
    assert memory_kills(files) == 5


def test_dead_between_two_jobs_is_started_again(process):
    assert isinstance(events_of(process, order(play()))[-1], Done)
    old = process.pid
    os.kill(old, signal.SIGKILL)

    def replaced() -> bool:
        process.poll()
        return process.pid not in (None, old)

    until(replaced, 60)
    assert isinstance(events_of(process, order(play()))[-1], Done)


def test_engine_that_cannot_be_built_says_why_and_is_not_started_over_and_over():
    executor = ProcessExecutor("tests.jobs.runners:build_broken", {})
    executor.start(lambda catalogue: None)
    try:
        with pytest.raises(EngineDied, match="no such device"):
            events_of(executor, order(play()))
        executor.start(lambda catalogue: None)
        until(lambda: (executor.poll(), executor.pid is None)[1], 60)
        for _ in range(5):
            executor.poll()
            time.sleep(0.05)
            assert executor.pid is None
    finally:
        executor.close()


def test_engine_ends_with_its_parent(process):
    assert isinstance(events_of(process, order(play()))[-1], Done)
    pid = process.pid
    process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def timeless(event: Event) -> Event:
    """`event` without the time at which its job was planned."""
    if isinstance(event, ImageReady):
        return replace(event, fields={**event.fields, "job_timestamp": ""})
    return replace(event, info={**event.info, "job_timestamp": ""}) if isinstance(event, Done) else event


def test_real_engine_draws_the_same_in_both(tmp_path):
    write_tiny(tmp_path / "models" / "Stable-diffusion" / "tiny.safetensors")
    arguments = {"paths": Paths(data=tmp_path), "use_cpu": True}
    options = Settings().changed({"sd_model_checkpoint": "tiny"}).flat()
    request = make_request({"prompt": "a red star", "steps": 3, "width": 64, "height": 64, "sampler_name": "Euler a"})
    given, found = order(request, options=options), {}
    for name, executor in {
        "inline": InlineExecutor(lambda: build_engine(**arguments)),
        "process": ProcessExecutor("modules.engine.build:build_engine", arguments),
    }.items():
        executor.start(lambda catalogue: None)
        events = events_of(executor, given, stall=300)
        found[name] = [timeless(event) for event in events]
        executor.close()
    assert found["inline"] == found["process"]
    assert any(isinstance(e, ImageReady) for e in found["inline"])


def test_a_pipe_that_is_closed_in_the_middle_of_a_read_is_an_end(monkeypatch):
    """What multiprocessing raises when another thread closes it then."""

    class Closed:
        closed = True

        def send(self, _: object) -> None: ...

        def poll(self, _: object) -> bool:
            return True

        def recv(self) -> object:
            raise TypeError("'NoneType' object cannot be interpreted as an integer")

    executor = ProcessExecutor("tests.jobs.runners:build_puppet", {})
    monkeypatch.setattr(executor, "_ensure", Closed)
    with pytest.raises(EngineDied):
        next(executor.run(order(play()), Cancel()))
