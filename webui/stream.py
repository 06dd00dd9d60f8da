"""Tells a page what happens to its job, as server-sent events; and serves the page's own scripts and styles."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response, StreamingResponse

from modules.core.errors import NotFound
from modules.jobs.service import JobService
from modules.jobs.store import ENDED, Image, Job

ASSETS = Path(__file__).with_name("assets")


def build_router(service: JobService) -> APIRouter:
    """The routes of the page below /atelier."""
    router = APIRouter(prefix="/atelier", include_in_schema=False)

    @router.get("/watch/{job_id}")
    async def watch(job_id: str) -> Response:
        try:
            service.job(job_id)
        except NotFound as error:
            return JSONResponse({"detail": error.message}, 404)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events(service, job_id), media_type="text/event-stream", headers=headers)

    return router


async def events(service: JobService, job_id: str) -> AsyncIterator[str]:
    """One event a change, the first at once; each holds the job's state and the pictures that are new since the last."""
    sent: set[int] = set()
    async for job in service.watch(job_id):
        images = [image for image in service.images(job_id) if image.id not in sent]
        sent.update(image.id for image in images)
        yield f"data: {json.dumps(report(service, job, images))}\n\n"


def report(service: JobService, job: Job, images: list[Image]) -> dict[str, Any]:
    """What the page shows of a job. Batches count from 1; `left` is in seconds; seeds are text, as JavaScript needs."""
    live = service.live(job.id)
    progress = live.progress if live else None
    return {
        "job": job.id,
        "state": job.state,
        "over": job.state in ENDED,
        "ahead": service.position(job.id),
        "engine": service.engine_ready,
        "again": job.tries > (job.state != "queued"),
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
        "message": job.message,
        "took": job.ended - job.started if job.ended and job.started else None,
        "prompt": job.request.prompt,
        "count": job.request.count,
        "pictures": [
            {
                "id": image.id,
                "position": image.position,
                "seed": str(image.seed),
                "infotext": image.infotext,
                "incomplete": image.incomplete,
            }
            for image in images
        ],
    }
