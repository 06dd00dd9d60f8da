"""What a page is told of its job."""

import asyncio
import json
from dataclasses import replace

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from modules.api.callers import caller_of
from modules.core.user import OWNER
from modules.jobs.service import JobService
from tests.jobs.helpers import play
from tests.server import until
from webui.stream import build_router, events


@pytest.fixture
def client(service: JobService) -> TestClient:
    app = FastAPI()
    app.include_router(build_router(service))
    app.dependency_overrides[caller_of] = lambda: OWNER
    return TestClient(app)


def reports(service: JobService, job: str) -> list[dict]:
    """All of them until the job is over."""

    async def collect() -> list[str]:
        return [event async for event in events(service, job)]

    found = asyncio.run(asyncio.wait_for(collect(), 60))
    assert all(event.startswith("data: ") and event.endswith("\n\n") and event.count("\n") == 2 for event in found)
    return [json.loads(event[6:]) for event in found]


def test_progress_grows_and_every_picture_is_told_once(service: JobService):
    job = service.submit(play(steps=4, pause=0.02, n_iter=2, batch_size=2, seed=2**60)).id
    found = reports(service, job)
    fractions = [report["fraction"] for report in found if report["state"] == "running"]
    assert fractions == sorted(fractions)
    assert any(0 < fraction < 1 for fraction in fractions)
    pictures = [picture for report in found for picture in report["pictures"]]
    assert [picture["position"] for picture in pictures] == [0, 1, 2, 3]
    assert pictures[1]["seed"] == str(2**60 + 1)  # as text: JavaScript would round it
    assert pictures[0]["infotext"].startswith("picture 0\n")
    assert [report["over"] for report in found] == [False] * (len(found) - 1) + [True]
    assert found[-1]["state"] == "done"
    assert found[-1]["took"] > 0


def test_a_job_at_its_very_end_does_not_fall_back_to_nothing(service: JobService, monkeypatch: pytest.MonkeyPatch):
    job = service.submit(play()).id
    done = service.wait(job, 30)
    until(lambda: service.live(job) is None, 30)

    async def watch(job_id: str):
        yield replace(done, state="running")  # as it was read, a moment before the worker let go of it
        yield done

    monkeypatch.setattr(service, "watch", watch)
    assert [report["state"] for report in reports(service, job)] == ["done"]


def test_whoever_comes_late_gets_everything(service: JobService):
    job = service.submit(play(n_iter=3)).id
    service.wait(job, 30)
    only = reports(service, job)
    assert len(only) == 1
    assert (only[0]["over"], only[0]["again"], len(only[0]["pictures"])) == (True, False, 3)


def test_a_job_that_waits_knows_how_many_are_before_it(service: JobService):
    first = service.submit(play(wait="interrupt")).id
    second = service.submit(play()).id

    async def one() -> dict:
        async for event in events(service, second):
            return json.loads(event[6:])
        raise AssertionError

    assert asyncio.run(one())["ahead"] == 1
    service.ask("interrupt", first)
    service.wait(second, 30)


def test_failure_brings_its_sentence(service: JobService):
    job = service.submit(play(fail='The file "<b>" is broken.', n_iter=2)).id
    last = reports(service, job)[-1]
    assert (last["state"], last["message"], last["over"]) == ("failed", 'The file "<b>" is broken.', True)


def test_the_route_streams(client: TestClient, service: JobService):
    job = service.submit(play()).id
    answer = client.get(f"/atelier/watch/{job}")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert '"over": true' in answer.text


@pytest.mark.parametrize("job", ["0" * 32, "<b>", "%2e%2e"])
def test_an_unknown_job_is_one_sentence(job, client: TestClient):
    answer = client.get(f"/atelier/watch/{job}")
    assert answer.status_code == 404
    assert set(answer.json()) == {"detail"}
