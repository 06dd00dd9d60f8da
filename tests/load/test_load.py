"""Many at once: every job comes out right and is its owner's, and the page stays quick. By hand: `pytest -m load -s`."""

import base64
import contextlib
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from modules.core.paths import ROOT
from tests.load.conftest import USERS, Crowd, percentile, told

pytestmark = [pytest.mark.load, pytest.mark.timeout(3600)]

JOBS = 20
IDLE = 100


class Lookers:
    """So many open pages that do nothing but look, see lookers.py: every answer's time is kept."""

    def __init__(self, crowd: Crowd, count: int) -> None:
        self.times: dict[str, list[float]] = {}
        self.errors: list[str] = []
        self._command = [sys.executable, "-m", "tests.load.lookers", "127.0.0.1", str(crowd.port), str(count)]
        self._tokens = json.dumps([crowd.token(user) for user in USERS])
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Lookers":
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin
        self._process.stdin.write(f"{self._tokens}\n")
        self._process.stdin.flush()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process
        answer = self._process.communicate(timeout=300)[0]
        found = json.loads(answer)
        self.times, self.errors = found["times"], found["errors"]


def prompt_of(user: str, number: int) -> str:
    return f"picture {number} of {user}"


def by_api(client, user: str, number: int) -> str:
    """One job, waited for; the infotext of its picture."""
    body = {"prompt": prompt_of(user, number), "width": 64, "height": 64, "steps": 2, "save_images": True}
    answer = client.post("/sdapi/v1/txt2img", json={**body, "force_task_id": f"{user}-{number}"})
    assert answer.status_code == 200, answer.text[:300]
    (picture,) = answer.json()["images"]
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        return image.info["parameters"]


def by_queue(client, user: str, numbers: Iterable[int]) -> dict[int, str]:
    """Those jobs, left in the queue and looked for once a second; the infotexts of their pictures."""
    waiting = {}
    for number in numbers:
        body = {"prompt": prompt_of(user, number), "width": 64, "height": 64, "steps": 2, "save_images": True}
        answer = client.post("/agent-scheduler/v1/queue/txt2img", json=body)
        assert answer.status_code == 200, answer.text[:300]
        waiting[answer.json()["task_id"]] = number
    found = {}
    while waiting:
        time.sleep(1)
        for report in client.get("/atelier/jobs").json()["jobs"]:
            if report["id"] in waiting and report["state"] not in ("queued", "running"):
                assert report["state"] == "done", report
                (picture,) = report["images"]
                with Image.open(io.BytesIO(client.get(picture["url"]).content)) as image:
                    found[waiting.pop(report["id"])] = image.info["parameters"]
    return found


def test_L1_eight_users_with_twenty_jobs_each(crowd: Crowd):
    begun = time.monotonic()
    results: dict[tuple[str, int], str] = {}

    with contextlib.ExitStack() as open_now:
        clients = {user: open_now.enter_context(crowd.client(user)) for user in USERS}

        def send(user: str, number: int) -> None:
            results[user, number] = by_api(clients[user], user, number)

        def leave(user: str) -> None:
            found = by_queue(clients[user], user, range(0, JOBS, 2))
            results.update({(user, number): text for number, text in found.items()})

        with Lookers(crowd, IDLE) as lookers, ThreadPoolExecutor(len(USERS) * JOBS) as pool:
            sent = [pool.submit(send, user, number) for number in range(1, JOBS, 2) for user in USERS]
            for done in [*sent, *(pool.submit(leave, user) for user in USERS)]:
                done.result()
    took = time.monotonic() - begun
    assert len(results) == len(USERS) * JOBS == 160
    assert all(text.startswith(f"{prompt_of(*key)}\n") for key, text in results.items())
    assert len(crowd.pictures()) == 160
    assert lookers.errors == []
    for user in USERS:
        with crowd.client(user) as client:
            mine = client.get("/atelier/jobs").json()["jobs"]
            assert len(mine) == JOBS and {job["user"] for job in mine} == {user}
            others = next(other for other in USERS if other != user)
            assert client.get(f"/atelier/jobs/{others}-1").status_code == 404
    figures = {
        path: {f"p{share:.0%}": f"{percentile(times, share) * 1000:.0f} ms" for share in (0.5, 0.9, 0.99)}
        for path, times in lookers.times.items()
    }
    told(jobs=160, seconds=round(took), looks=len(lookers.times["/"]), **figures)


def test_L7_the_page_answers_while_heavy_things_go_on(crowd: Crowd, tmp_path):
    """A large hash, a large picture, a large upload, a folder of 50,000 files, one after the other; pinged every 50 ms."""
    models = crowd.data / "models" / "Stable-diffusion"
    models.mkdir(parents=True, exist_ok=True)
    with (models / "huge.safetensors").open("wb") as file:
        file.truncate(2 * 2**30)
    many = crowd.data / "models" / "wildcards"
    many.mkdir(parents=True)
    for number in range(50_000):
        (many / f"{number}.txt").touch()
    noise = io.BytesIO()
    Image.effect_noise((3000, 3000), 100).save(noise, "PNG")
    times: list[float] = []
    stop = threading.Event()

    def ping() -> None:
        with crowd.client("root") as client:
            while not stop.wait(0.05):
                begun = time.perf_counter()
                assert client.get("/healthz").status_code == 200
                times.append(time.perf_counter() - begun)

    thread = threading.Thread(target=ping)
    thread.start()
    with crowd.client("root") as client:
        assert client.post("/sdapi/v1/refresh-checkpoints").status_code == 200
        assert client.get("/sdapi/v1/sd-models").status_code == 200
        assert client.get("/atelier/wildcards").status_code == 200
        assert client.post("/atelier/uploads", content=noise.getvalue()).status_code in (200, 413)
        body = {"prompt": "a large one", "width": 1024, "height": 1024, "steps": 1}
        assert client.post("/sdapi/v1/txt2img", json=body).status_code == 200
    stop.set()
    thread.join()
    told(pings=len(times), p99_ms=round(percentile(times, 0.99) * 1000), most_ms=round(max(times) * 1000))
    assert percentile(times, 0.99) < 1.0, "on an idle machine 0.25"
