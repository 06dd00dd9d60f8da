"""`GET /metrics`: the queue, jobs, pictures, engine and memory in Prometheus's text format."""

from collections.abc import Iterator

import psutil
from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.responses import Response

from modules.api.system import resident
from modules.jobs.figures import BOUNDS
from modules.jobs.service import JobService


def build_metrics(service: JobService) -> APIRouter:
    """The one route."""
    router = APIRouter()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Server(service))

    @router.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


class _Server(Collector):
    """Reads everything at each scrape; counters begin at 0 with each start."""

    def __init__(self, service: JobService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        yield from self._queue()
        yield from self._work()
        yield from self._memory()

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def _queue(self) -> Iterator[Metric]:
        tickets = self._service.store.tickets()
        waiting = sum(ticket.state == "queued" for ticket in tickets)
        yield GaugeMetricFamily("atelier_queue_length", "Jobs that wait", value=waiting)
        states = GaugeMetricFamily("atelier_jobs", "Jobs in the store by state", labels=["state"])
        for state, count in self._service.store.counts().items():
            states.add_metric([state], count)
        yield states

    def _work(self) -> Iterator[Metric]:
        figures = self._service.figures
        ended = CounterMetricFamily("atelier_jobs_ended", "Jobs that ended since the start", labels=["kind", "state"])
        for (kind, state), count in figures.ended().items():
            ended.add_metric([kind, state], count)
        yield ended
        seconds = HistogramMetricFamily("atelier_picture_seconds", "Seconds per picture", labels=["kind"])
        for kind, times in figures.times().items():
            total, buckets = 0, []
            for bound, count in zip((*map(str, map(float, BOUNDS)), "+Inf"), times.counts, strict=True):
                total += count
                buckets.append((bound, total))
            seconds.add_metric([kind], buckets, times.seconds)
        yield seconds
        yield GaugeMetricFamily("atelier_engine_ready", "Is the engine up?", value=int(self._service.engine_ready))
        yield CounterMetricFamily("atelier_engine_restarts", "Starts of the engine after its first", figures.restarts)

    def _memory(self) -> Iterator[Metric]:
        memory = GaugeMetricFamily("atelier_memory_bytes", "Resident memory of the processes", labels=["process"])
        for name, pid in zip(("web", "engine"), self._service.processes(), strict=False):
            memory.add_metric([name], resident(pid))
        yield memory
        machine = psutil.virtual_memory()
        yield GaugeMetricFamily("atelier_machine_memory_available_bytes", "Memory left", value=machine.available)
        if device := self._service.device_memory():
            gpu = GaugeMetricFamily("atelier_gpu_memory_bytes", "GPU memory after the last job", labels=["kind"])
            for kind in ("used", "free", "total"):
                gpu.add_metric([kind], device["system"][kind])
            gpu.add_metric(["reserved"], device["reserved"]["current"])
            yield gpu
