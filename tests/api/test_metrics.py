"""Prometheus's page of figures."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from modules.jobs.figures import BOUNDS, Figures
from tests.jobs.helpers import play
from tests.server import until


def scraped(client) -> dict[tuple[str, ...], float]:
    """(name, labels' values ...) -> value."""
    answer = client.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_the_queue_jobs_and_pictures_are_counted(puppet):
    service, client = puppet
    running, waiting = (service.submit(play(wait="interrupt")).id for _ in range(2))
    until(lambda: service.live(running), 60)
    found = scraped(client)
    assert (found["atelier_queue_length",], found["atelier_jobs", "running"], found["atelier_jobs", "queued"]) == (
        1,
        1,
        1,
    )
    for job in (waiting, running):
        service.ask("interrupt", job)
    service.wait(service.submit(play(n_iter=3)).id, 60)
    until(lambda: ("atelier_jobs_ended_total", "txt2img", "done") in scraped(client), 10)
    found = scraped(client)
    assert found["atelier_jobs", "stopped"] == 2 and found["atelier_jobs", "done"] == 1
    assert found["atelier_picture_seconds_count", "txt2img"] == 3
    assert 0 < found["atelier_picture_seconds_sum", "txt2img"] < 60
    assert found["atelier_memory_bytes", "web"] > 10**7 < found["atelier_memory_bytes", "engine"]
    assert found["atelier_machine_memory_available_bytes",] > 0 and found["atelier_engine_ready",] == 1


def test_an_engine_that_died_is_counted(puppet):
    service, client = puppet
    until(lambda: scraped(client)["atelier_engine_ready",] == 1, 60)
    assert scraped(client)["atelier_engine_restarts_total",] == 0
    service.wait(service.submit(play(die=0)).id, 120)
    until(lambda: scraped(client)["atelier_engine_restarts_total",] >= 1, 60)


def test_times_fall_into_their_buckets():
    figures = Figures()
    figures.note_job("txt2img", "done", 4.0, 2)  # 2 s each
    figures.note_job("txt2img", "done", 10_000.0, 1)
    figures.note_job("txt2img", "failed", 1.0, 0)
    times = figures.times()["txt2img"]
    assert times.counts[BOUNDS.index(2.5)] == 2 and times.counts[-1] == 1 and sum(times.counts) == 3
    assert times.seconds == pytest.approx(10_004.0)
    assert figures.ended() == {("txt2img", "done"): 2, ("txt2img", "failed"): 1}
