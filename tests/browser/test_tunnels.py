"""The page behind a tunnel that cuts connections, drops everything for a while, or gathers events up; connections that break; and
what goes wrong in the server meanwhile."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.page import Atelier
from tests.faults.points import Points
from tests.server import Server, until
from tests.tunnel import Tunnel

pytestmark = [pytest.mark.browser, pytest.mark.starter, pytest.mark.timeout(900)]

LONG = {"steps": 20, "width": 64, "height": 64, "batch_count": 8}


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Points:
    """What goes wrong in the server."""
    return Points(tmp_path_factory.mktemp("points"))


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory, points: Points) -> Iterator[Server]:
    """The server itself."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name, value in points.environment.items():
            patch.setenv(name, value)
        running = stack.enter_context(Server(tmp_path_factory.mktemp("tunnels") / "data"))
        until(lambda: running.get("/readyz").status_code == 200, 280)
        yield running


@pytest.fixture
def server(behind: Server) -> Iterator[Tunnel]:
    """What the browser reaches."""
    with Tunnel(behind.port) as tunnel:
        yield tunnel


def test_N23_connections_that_are_cut_lose_no_picture(atelier: Atelier, server: Tunnel):
    server.cuts = 1.0
    atelier.set(prompt="a red star", **LONG).generate().finished()
    atelier.pictures(8)
    assert server.cut >= 2, "the job was over before it was cut"


def test_N23_a_call_that_is_cut_is_found_by_its_id(behind: Server, server: Tunnel):
    server.cuts = 0.5
    body = {"prompt": "cut", "steps": 20, "width": 64, "height": 64, "n_iter": 8, "force_task_id": "task(cut)"}
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{server.url}/sdapi/v1/txt2img", json=body, timeout=60, trust_env=False)
    server.cuts = None

    def job() -> dict:
        answer = httpx.get(f"{server.url}/agent-scheduler/v1/task/task(cut)", timeout=60, trust_env=False)
        return answer.json()["data"] if answer.status_code == 200 else {}

    until(lambda: job().get("status") == "done", 280)
    answer = httpx.get(f"{server.url}/agent-scheduler/v1/task/task(cut)/results", timeout=60, trust_env=False)
    assert len(answer.json()["data"]) == 8


def test_N24_after_a_silence_the_page_catches_up(atelier: Atelier, behind: Server, server: Tunnel):
    atelier.set(prompt="a red star", **LONG).generate().at_least(1)
    server.drops = True
    seen = atelier.find(".thumbnail:not(.live)").count()
    expect(atelier.find(".notice")).to_contain_text("The server does not answer.", timeout=60_000)
    server.drops = False
    atelier.at_least(seen + 1)
    atelier.finished().pictures(8)
    expect(atelier.find(".notice")).to_be_hidden()


def test_X13_a_job_that_ends_while_its_stream_is_dropped_frees_the_page(
    atelier: Atelier, behind: Server, server: Tunnel
):
    atelier.set(prompt="a red star", **{**LONG, "batch_count": 10}).generate().at_least(1)
    expect(atelier.button("generate")).to_be_hidden()
    server.cuts = 0.0
    until(lambda: behind.get("/atelier/jobs").json()["jobs"][0]["state"] == "done", 120)
    expect(atelier.find(".notice")).to_contain_text("The server does not answer.")
    server.cuts = None
    atelier.finished().pictures(10)
    expect(atelier.button("generate")).to_be_visible()
    atelier.set(batch_count=1, steps=2).generate().finished()


def test_X13_a_job_that_runs_out_of_memory_frees_the_page(atelier: Atelier, points: Points):
    points.plan("step", "oom", skip=2)
    atelier.set(prompt="a red star", **{**LONG, "batch_count": 2}).generate().finished()
    expect(atelier.find(".notice")).to_contain_text("too little memory")
    expect(atelier.button("generate")).to_be_visible()
    assert not points.waits("step")
    atelier.generate().finished().pictures(2)
    expect(atelier.find(".notice")).to_be_hidden()


def test_N25_without_events_the_page_asks(atelier: Atelier, server: Tunnel):
    server.gathers = True
    atelier.set(prompt="a red star", **{**LONG, "steps": 60, "batch_count": 100}).generate().at_least(2)
    atelier.running()  # events would have told of it all at its end
    atelier.page.keyboard.press("Escape")
    atelier.finished()
    expect(atelier.find(".status")).to_contain_text("Interrupted: ")


def test_R17_connections_that_break_leave_nothing_open(behind: Server):
    body = {"prompt": "a red star", "steps": 150, "width": 64, "height": 64, "n_iter": 30}
    job = behind.post("/agent-scheduler/v1/queue/txt2img", body).json()["task_id"]

    def broken(count: int) -> None:
        for _ in range(count):
            with behind.http.stream("GET", f"/atelier/watch/{job}") as events:
                next(events.iter_raw())
            with socket.create_connection(("127.0.0.1", behind.port)) as upload:
                head = f"POST /atelier/uploads HTTP/1.1\r\nHost: localhost:{behind.port}\r\nContent-Length: 1000000\r\n\r\n"
                upload.sendall(head.encode() + b"x" * 5000)

    broken(10)
    before, threads = behind.process.num_fds(), behind.process.num_threads()
    broken(150)
    until(lambda: behind.process.num_fds() <= before + 5, 60, lambda: f"{behind.process.num_fds()}, was {before}")
    until(lambda: behind.process.num_threads() <= threads + 5, 60)
    behind.post(f"/atelier/jobs/{job}/interrupt")
