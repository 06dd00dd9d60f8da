"""Hours of use: nothing gets stuck, nothing grows. By hand: `pytest -m soak -s [--soak-minutes 120]`."""

import contextlib
import random
import threading
import time

import httpx
import pytest

from tests.load.conftest import USERS, Crowd, Gauge, percentile, slope, told

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]

BODY = {"width": 64, "height": 64, "steps": 2}


def interrupt(crowd: Crowd, name: str, job: str) -> None:
    """Stop that job, if it is there (still)."""
    with crowd.client(name) as client:
        assert client.post(f"/atelier/jobs/{job}/interrupt").status_code in (200, 404, 422)


def user_of(crowd: Crowd, name: str, end: float, report: dict) -> None:
    """Jobs one after the other, some of which are interrupted, or left by their caller."""
    wish = random.Random(name)
    while time.monotonic() < end:
        with crowd.client(name) as client:
            number = f"{name}-{time.monotonic_ns()}"
            values = {
                **BODY,
                "prompt": f"{name} {number}",
                "n_iter": wish.choice((1, 1, 2, 4)),
                "force_task_id": number,
            }
            moment = wish.random()
            begun = time.perf_counter()
            try:
                if moment < 0.15:  # a tab that is closed
                    with contextlib.suppress(httpx.TimeoutException):
                        client.post("/sdapi/v1/txt2img", json=values, timeout=0.5)
                    continue
                if moment < 0.3:
                    threading.Timer(wish.random(), interrupt, (crowd, name, number)).start()
                answer = client.post("/sdapi/v1/txt2img", json=values)
            except httpx.TransportError as error:
                report["errors"].append(f"{type(error).__name__}: {error}")
                continue
            if answer.status_code == 200:
                report["times"].append((time.monotonic(), (time.perf_counter() - begun) / values["n_iter"]))
            elif answer.status_code != 429:
                report["errors"].append(f"{answer.status_code}: {answer.text[:200]}")
        time.sleep(wish.random() * 2)


def test_L10_soak(crowd: Crowd, request):
    minutes = request.config.getoption("--soak-minutes")
    end = time.monotonic() + minutes * 60
    report: dict = {"times": [], "errors": []}
    threads = [threading.Thread(target=user_of, args=(crowd, name, end, report)) for name in USERS[:4]]
    gauge, pages = Gauge(crowd), []
    for thread in threads:
        thread.start()
    with crowd.client("root") as client:
        while time.monotonic() < end:
            begun = time.perf_counter()
            assert client.get("/").status_code == 200
            pages.append((time.monotonic(), time.perf_counter() - begun))
            gauge.read()
            time.sleep(2)
    for thread in threads:
        thread.join(600)
    with crowd.client("root") as client:
        left = client.get("/agent-scheduler/v1/queue").json()
    told(
        minutes=minutes,
        jobs=len(report["times"]),
        page_p95_ms=round(percentile([took for _, took in pages], 0.95) * 1000),
        page_ms_an_hour=round(slope(pages) * 1000),
        picture_ms_an_hour=round(slope(report["times"]) * 1000),
        first=gauge.rows[len(gauge.rows) // 4],
        last=gauge.rows[-1],
        an_hour={name: round(gauge.slope(name), 1) for name in gauge.rows[-1] if name != "t"},
        errors=report["errors"][:5],
    )
    assert report["errors"] == []
    assert report["times"], "no job was done"
    assert left["total_pending_tasks"] <= 4  # those that were left at the very end
    if minutes >= 60:  # before that, what caches take is most of the slope
        for process in ("web", "engine"):
            assert abs(gauge.slope(f"{process} handles")) < 5
            assert gauge.slope(f"{process} MB") < 0.03 * gauge.rows[-1][f"{process} MB"]
