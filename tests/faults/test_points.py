"""Faults inside a real server: in the engine, between the processes, on the disk. Each is told, and the next job is as ever."""

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from modules.images.encode import encode_png
from tests.faults.points import Points
from tests.jobs.runners import noise, opens_whole
from tests.server import Server, until

SMALL = {"prompt": "a red star", "width": 64, "height": 64, "steps": 4, "seed": 3, "save_images": True}
PATIENCE = 280  # seconds; only a hang lasts that long

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def points(tmp_path_factory) -> Points:
    return Points(tmp_path_factory.mktemp("points"))


@pytest.fixture(scope="module")
def server(tmp_path_factory, models, points) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("pointed") / "data"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in points.environment.items():
            patch.setenv(name, value)
        running = Server(data, "--nowebui", "--ckpt-dir", str(models), "--ckpt", "tiny")
        with running:
            yield running


@pytest.fixture(autouse=True)
def afresh(points):
    yield
    points.clear()


def draw(server: Server, **values) -> tuple[int, dict]:
    answer = server.post("/sdapi/v1/txt2img", {**SMALL, **values}, timeout=PATIENCE)
    return answer.status_code, answer.json()


@pytest.fixture(scope="module")
def usual(server) -> list[str]:
    """The picture as it always is."""
    code, answer = draw(server)
    assert code == 200, answer
    return answer["images"]


@pytest.mark.parametrize(("point", "skip"), [("model.load", 0), ("step", 2), ("decode", 0)])
def test_C2_the_engine_killed_at_a_stage(server, points, usual, point, skip):
    """The job goes on in a new process, once, and gives the picture that it always does."""
    if point == "model.load":
        assert server.post("/sdapi/v1/unload-checkpoint").status_code == 200
    points.plan(point, "kill", skip=skip)
    name = f"killed-{point.replace('.', '-')}"
    code, answer = draw(server, force_task_id=name)
    assert (code, points.waits(point)) == (200, False), answer
    assert answer["images"] == usual
    assert server.get(f"/atelier/jobs/{name}").json()["tries"] == 2


@pytest.mark.parametrize(
    ("point", "action", "skip", "words"),
    [
        ("step", "nan", 1, "gave NaN"),
        ("step", "raise", 1, "InjectedFault"),
        ("step", "oom", 2, "too little memory"),
        ("conditioning", "oom", 0, "too little memory"),
        ("decode", "raise", 0, "InjectedFault"),
    ],
)
def test_R1_what_fails_in_the_engine_fails_one_job(server, points, usual, point, action, skip, words):
    points.plan(point, action, skip=skip)
    before = server.pictures()
    code, answer = draw(server, prompt=f"a green star {point} {action}")
    assert (code, points.waits(point)) == (500, False), answer
    assert words in answer["detail"]
    assert server.pictures() == before
    assert draw(server)[1]["images"] == usual


def test_R9_a_disk_that_is_full_when_a_picture_is_saved(server, points, usual):
    """Each moment of saving: the picture is in the answer and can be fetched, and no part of a file is left."""
    for moment in ("image.open", "image.write", "image.sync", "image.rename"):
        before = server.pictures()
        points.plan(moment, "enospc")
        code, answer = draw(server)
        assert (code, points.waits(moment), answer["images"]) == (200, False, usual)
        assert "is full. Free some space" in json.loads(answer["info"])["warnings"][0]
        found = server.get("/atelier/jobs").json()["jobs"][0]["images"][0]
        assert found["saved"] is False
        assert opens_whole(server.get(found["url"]).content)
        assert server.pictures() == before
        assert not list(server.data.rglob("*.tmp"))
    draw(server)
    assert len(server.pictures()) == len(before) + 1


def test_R9_and_no_other_place_for_it_either(server, points, usual):
    points.plan("image.write", "enospc", times=2)
    code, answer = draw(server)
    assert code in (500, 507), answer
    assert "is full" in answer["detail"]
    assert draw(server)[1]["images"] == usual


@pytest.mark.parametrize("moment", ["settings.open", "settings.write", "settings.sync", "settings.rename"])
def test_R10_settings_on_a_full_disk_stay_as_they_were(server, points, moment):
    before = (server.data / "config.json").read_bytes()
    options = server.get("/sdapi/v1/options").json()
    points.plan(moment, "enospc")
    answer = server.post("/sdapi/v1/options", {"jpeg_quality": 55})
    assert answer.status_code == 507, answer.text
    assert "is full" in answer.json()["detail"]
    assert (server.data / "config.json").read_bytes() == before
    assert server.get("/sdapi/v1/options").json() == options
    assert not list(server.data.glob(".*.tmp"))


def test_R10_the_job_store_on_a_full_disk_takes_no_job(server, points, usual):
    points.plan("database.commit", "enospc")
    code, answer = draw(server, force_task_id="no-room")
    assert code == 507, answer
    assert "job store cannot be written" in answer["detail"]
    assert server.get("/atelier/jobs/no-room").status_code == 404
    points.clear()
    assert draw(server)[1]["images"] == usual


def test_R10_styles_and_history_on_a_full_disk(server, points):
    for name, path, values in (
        ("styles.write", "/atelier/styles", {"name": "new", "prompt": "new one"}),
        ("history.write", "/atelier/prompts/history", {"prompt": "kept"}),
        ("upload.write", "/atelier/uploads", None),
    ):
        points.plan(name, "enospc")
        answer = server.post(path, values) if values else server.http.post(path, content=picture())
        assert (answer.status_code, points.waits(name)) == (507, False), (name, answer.text)
        assert "full" in answer.json()["detail"] or "No space left" in answer.json()["detail"]
        again = server.post(path, values) if values else server.http.post(path, content=picture())
        assert again.status_code == 200, again.text


def picture() -> bytes:
    return encode_png(noise(1), "")


def test_D2_the_same_request_gives_the_same_picture(server, usual):
    for _ in range(2):
        assert draw(server)[1]["images"] == usual
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(draw, server, steps=150, n_iter=50, force_task_id="interrupted")
        until(lambda: server.get("/atelier/jobs/interrupted").status_code == 200, PATIENCE)
        until(lambda: server.get("/atelier/jobs/interrupted").json()["state"] == "running", PATIENCE)
        server.post("/atelier/jobs/interrupted/interrupt")
        assert long.result()[0] == 200
    assert draw(server)[1]["images"] == usual


def test_D5_what_is_answered_is_what_is_saved(server, usual):
    known = set(server.pictures())
    code, answer = draw(server, n_iter=2)
    made = sorted(set(server.pictures()) - known)
    assert (code, len(made)) == (200, 2)
    assert [base64.b64decode(picture) for picture in answer["images"]] == [path.read_bytes() for path in made]
    code, answer = draw(server, override_settings={"enable_pnginfo": False})
    with Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))) as image:
        assert image.info == {}


def test_an_order_that_is_slow_to_leave_and_many_at_once(server, points, usual):
    points.plan("ipc.order", "sleep:0.3", times=2)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: draw(server), range(4)))
    assert all(answer["images"] == usual for _, answer in answers)
