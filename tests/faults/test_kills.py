"""kill -9 at bad moments: nothing that was accepted is lost, nothing that was finished is done twice."""

import threading

import psutil
import pytest

from tests.jobs.runners import opens_whole
from tests.server import Server, until

LONG = {"prompt": "a red star", "width": 128, "height": 128, "steps": 30, "n_iter": 8, "seed": 1, "save_images": True}
SHORT = {**LONG, "n_iter": 1, "steps": 2}
PATIENCE = 280  # seconds; only a hang lasts that long

pytestmark = pytest.mark.timeout(900)


def post(server: Server, answers: list, **values) -> threading.Thread:
    """Send a long job in a thread of its own; its answer, or the error, goes into `answers`."""

    def send() -> None:
        try:
            answers.append(server.post("/sdapi/v1/txt2img", {**LONG, **values}, timeout=2 * PATIENCE))
        except Exception as error:  # the server is killed under it
            answers.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def job(server: Server, name: str) -> dict:
    answer = server.get(f"/atelier/jobs/{name}")
    return answer.json() if answer.status_code == 200 else {"state": "none", "images": []}


def finished(server: Server, name: str, count: int) -> list[dict]:
    """Wait until the job has so many pictures; all it has."""
    return until(
        lambda: (found := job(server, name)["images"]) and len(found) >= count and found, PATIENCE, lambda: server.log
    )


def check_complete(server: Server, name: str, early: list[dict], tries: int) -> None:
    """The job is done, has all its pictures, and those of before the kill are the very same files."""
    ended = until(
        lambda: (found := job(server, name))["state"] in ("done", "failed", "stopped") and found,
        PATIENCE,
        lambda: server.log,
    )
    assert (ended["state"], ended["tries"]) == ("done", tries), ended["message"]
    assert [image["position"] for image in ended["images"]] == list(range(8))
    assert [image["seed"] for image in ended["images"]] == list(range(1, 9))
    assert ended["images"][: len(early)] == early
    for image in ended["images"]:
        assert opens_whole(server.get(image["url"]).content)
    assert all(opens_whole(path.read_bytes()) for path in server.pictures())
    assert not list((server.data / "outputs").rglob("*.tmp"))


def test_C2_kill_of_the_engine_in_the_middle(server):
    answers: list = []
    thread = post(server, answers, force_task_id="job1")
    early = finished(server, "job1", 2)
    pid = server.kill_engine()
    thread.join(PATIENCE)
    assert answers[0].status_code == 200
    assert len(answers[0].json()["images"]) == 8
    check_complete(server, "job1", early, tries=2)
    assert len(server.pictures()) == 8
    assert server.engine().pid != pid


def test_kill_of_the_idle_engine(server):
    until(lambda: server.get("/readyz").status_code == 200 and server.engine(), PATIENCE)
    server.kill_engine()
    answer = server.post("/sdapi/v1/txt2img", SHORT, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text


def test_C12_two_kills_park_the_job_and_the_next_one_works(server):
    answers: list = []
    thread = post(server, answers, force_task_id="job2", n_iter=100, steps=100)
    for tries in (1, 2):
        until(
            lambda tries=tries: (found := job(server, "job2"))["state"] == "running" and found["tries"] == tries,
            PATIENCE,
        )
        finished(server, "job2", tries)
        server.kill_engine()
    thread.join(PATIENCE)
    assert answers[0].status_code == 500
    assert "SIGKILL" in answers[0].json()["detail"]
    assert len(job(server, "job2")["images"]) >= 2
    assert server.post("/sdapi/v1/txt2img", SHORT, timeout=PATIENCE).status_code == 200


def kill_server(server: Server) -> None:
    """kill -9; its engine ends by itself."""
    engine = until(server.engine, PATIENCE)
    process = server._process
    assert process is not None
    process.kill()
    process.wait(30)
    until(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE, 60)


def test_C3_kill_of_the_whole_server_in_the_middle(server):
    answers: list = []
    threads = [post(server, answers, force_task_id="job3")]
    until(lambda: job(server, "job3")["state"] != "none", PATIENCE)
    threads.append(post(server, answers, force_task_id="job4"))
    until(lambda: job(server, "job4")["state"] == "queued", PATIENCE)
    early = finished(server, "job3", 2)
    kill_server(server)
    for thread in threads:
        thread.join(60)
    assert not any(getattr(answer, "status_code", None) == 200 for answer in answers)
    server.start()
    check_complete(server, "job3", early, tries=2)
    check_complete(server, "job4", [], tries=1)


def test_C14_kill_right_after_accepting(server):
    thread = post(server, [], force_task_id="job5")
    until(lambda: job(server, "job5")["state"] != "none", PATIENCE)
    kill_server(server)
    thread.join(60)
    server.start()
    ended = until(lambda: (found := job(server, "job5"))["state"] == "done" and found, PATIENCE, lambda: server.log)
    assert len(ended["images"]) == 8


def test_C11_ctrl_c_in_the_middle_is_no_try(server):
    answers: list = []
    thread = post(server, answers, force_task_id="job6")
    early = finished(server, "job6", 1)
    said = len(server.log)
    server.stop()
    thread.join(60)
    assert "Traceback" not in server.log[said:], server.log[said:]
    assert getattr(answers[0], "status_code", None) == 503
    assert "stopped" in answers[0].json()["detail"]
    server.start()
    check_complete(server, "job6", early, tries=1)
