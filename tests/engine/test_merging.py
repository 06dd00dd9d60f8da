"""The merging recipe's events, and what is left when it is stopped or killed."""

import pytest

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.jobs.executors.base import Cancel
from modules.requests.events import Done, Failed, Loading, Order, Progress
from modules.requests.merge import MergeRequest, make_file_request
from tests.jobs.helpers import make_service, puppet_inline
from tests.tiny import write_tiny

REQUEST = make_file_request(MergeRequest, {"primary_model_name": "a", "secondary_model_name": "b", "custom_name": "c"})


@pytest.fixture
def data(tmp_path):
    for seed, name in enumerate("ab"):
        write_tiny(tmp_path / "models" / "Stable-diffusion" / f"{name}.safetensors", seed=seed)
    return tmp_path


def order() -> Order:
    return Order(job="t(1)", request=REQUEST, seed=0, options=Settings().flat())


def left(data):
    return sorted(path.name for path in (data / "models" / "Stable-diffusion").iterdir())


def test_it_tells_how_far_it_is(data):
    events = list(build_engine(paths=Paths(data=data), use_cpu=True).run(order(), Cancel()))
    assert [event.name for event in events if isinstance(event, Loading)] == ["a.safetensors", "b.safetensors"]
    steps = [event for event in events if isinstance(event, Progress)]
    assert steps
    assert all(0 <= step.step <= step.steps for step in steps)
    assert {step.phase for step in steps} == {"writing c.safetensors"}
    assert isinstance(events[-1], Done)
    assert left(data) == ["a.safetensors", "b.safetensors", "c.safetensors"]


def test_stopping_leaves_nothing(data):
    cancel = Cancel()
    events = []
    for event in build_engine(paths=Paths(data=data), use_cpu=True).run(order(), cancel):
        events.append(event)
        if isinstance(event, Progress):
            cancel.ask("interrupt")
    assert events[-1] == Done(stopped=True)
    assert left(data) == ["a.safetensors", "b.safetensors"]


def test_a_file_that_goes_away_is_a_sentence(data):
    engine = build_engine(paths=Paths(data=data), use_cpu=True)
    (data / "models" / "Stable-diffusion" / "b.safetensors").write_bytes(b"<html>")
    event = list(engine.run(order(), Cancel()))[-1]
    assert isinstance(event, Failed)
    assert event.message.startswith('"b.safetensors" is')
    assert left(data) == ["a.safetensors", "b.safetensors"]


def test_what_a_killed_try_left_goes_with_the_next_start(data):
    service = make_service(data, puppet_inline())
    job = service.submit(REQUEST, job_id="t(1)")
    folder = data / "models" / "Stable-diffusion"
    for name in (".atelier-t(1).tmp", ".atelier-t(1)-1.tmp", ".atelier-other.tmp"):
        (folder / name).write_bytes(b"x")
    service.store.start(job.id)
    service.store.start(job.id)
    service.start()
    try:
        assert service.job(job.id).state == "failed"
        assert [name for name in left(data) if name.startswith(".")] == [".atelier-other.tmp"]
    finally:
        service.close()
