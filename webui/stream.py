"""Tells a page what happens to its job, as server-sent events; and serves the page's own scripts and styles."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from modules.api.callers import Caller
from modules.core.errors import NotFound
from modules.jobs.live import Live
from modules.jobs.service import JobService
from modules.jobs.store import ENDED, Image, Job
from webui.merge_form import form_of, labelled

ASSETS = Path(__file__).with_name("assets")


def build_router(service: JobService) -> APIRouter:
    """The routes of the page below /atelier."""
    router = APIRouter(prefix="/atelier", include_in_schema=False)

    @router.get("/watch/{job_id}")
    async def watch(job_id: str, caller: Caller, once: bool = False) -> Response:
        """Everything as it happens; `once`: what the first event would hold, for a page that no events reach."""
        try:
            service.desk(caller).job(job_id)
        except NotFound as error:
            return JSONResponse({"detail": error.message}, 404)
        if once:
            told = await anext(aiter(reports(service, job_id)), None)  # none while the program ends
            return JSONResponse(told, headers={"Cache-Control": "no-store"})
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events(service, job_id), media_type="text/event-stream", headers=headers)

    @router.get("/notification.mp3")
    def notification() -> FileResponse:
        path = service.paths.data / "notification.mp3"
        if not path.is_file():
            raise NotFound("There is no notification.mp3 in the data folder.")
        return FileResponse(path, media_type="audio/mpeg")

    return router


async def events(service: JobService, job_id: str) -> AsyncIterator[str]:
    """One event a report."""
    async for told in reports(service, job_id):
        yield f"data: {json.dumps(told)}\n\n"


async def reports(service: JobService, job_id: str) -> AsyncIterator[dict[str, Any]]:
    """One a change, the first at once; each holds the job's state and the pictures that are new since the last.

    A job that is said to run while nothing is known of its running is just beginning or ending: the next change tells.
    """
    sent: set[int] = set()
    async for job in service.watch(job_id):
        live = service.live(job_id)
        stopping = live is not None and "finish" in service.wishes()
        if job.state == "running" and not live:
            continue
        images = [image for image in service.images(job_id) if image.id not in sent]
        sent.update(image.id for image in images)
        yield report(service, job, live, images, stopping)


def told(job: Job) -> str | None:
    """The job's message; of the merger's, with fields called as the page calls them."""
    form = form_of(job.request)
    return labelled(form, job.info.get("field"), job.message) if form and job.message else job.message


def report(
    service: JobService, job: Job, live: Live | None, images: list[Image], stopping: bool = False
) -> dict[str, Any]:
    """What the page shows of a job. Batches count from 1; `left` is in seconds; seeds are text, as JavaScript needs.
    `stopping`: it ends with the batch in work."""
    progress = live.progress if live else None
    return {
        "job": job.id,
        "state": job.state,
        "over": job.state in ENDED,
        "ahead": service.position(job.id),
        "engine": service.engine_ready,
        "again": job.tries > (job.state != "queued"),
        "stopping": stopping,
        "phase": live.phase if live else "",
        "progress": {
            "batch": progress.batch + 1,
            "batches": progress.batches,
            "step": progress.step,
            "steps": progress.steps,
        }
        if progress
        else None,
        "fraction": live.fraction if live else 0,
        "left": live.seconds_left if live else None,
        "preview": live.preview_number if live else 0,
        "warnings": list(live.warnings) if live else [],
        "message": told(job),
        "took": job.ended - job.started if job.ended and job.started else None,
        "prompt": getattr(job.request, "prompt", ""),
        "count": getattr(job.request, "count", 0),
        "result": job.info.get("result"),
        "hidden": job.info.get("hidden", []),
        "pictures": [
            {
                "id": image.id,
                "position": image.position,
                "seed": str(image.seed),
                "infotext": image.infotext,
                "incomplete": image.incomplete,
                "ending": image.path.suffix,
            }
            for image in images
        ],
    }
