"""How far one job is, as A1111's page asks: `POST /internal/progress`."""

import base64
from typing import Any

from fastapi import APIRouter

from modules.api.bodies import Body
from modules.api.callers import Caller
from modules.core.validation import Text, Whole
from modules.jobs.desk import Desk
from modules.jobs.service import JobService
from modules.jobs.store import ENDED


class TaskBody(Body):
    """`id_live_preview`: the number of the preview that the caller has already."""

    id_task: Text | None = None
    id_live_preview: Whole = -1
    live_preview: bool = True


def build_task_progress(service: JobService) -> APIRouter:
    """The one route."""
    router = APIRouter()

    @router.post("/internal/progress")
    def progressapi(body: TaskBody, caller: Caller) -> dict[str, Any]:
        return told(service.desk(caller), body)

    return router


def told(desk: Desk, body: TaskBody) -> dict[str, Any]:
    """A1111's answer: a job that is not known is neither active, queued nor completed."""
    found: dict[str, Any] = {
        "active": False,
        "queued": False,
        "completed": False,
        "progress": None,
        "eta": None,
        "live_preview": None,
        "id_live_preview": body.id_live_preview,
        "textinfo": None,
    }
    job = desk.found(body.id_task) if body.id_task else None
    if job is None:
        return {**found, "textinfo": "Waiting..."}
    if job.state in ENDED:
        return {**found, "completed": True}
    if job.state == "queued":
        waiting = desk.service.position(job.id)
        return {**found, "queued": True, "textinfo": f"In queue: {waiting + 1}/{len(desk.service.store.tickets())}"}
    live = desk.live(job.id)
    if live is None:
        return {**found, "active": True, "progress": 0.0}
    found |= {"active": True, "progress": live.fraction, "eta": live.seconds_left, "textinfo": live.phase}
    if body.live_preview and live.preview and live.preview_number != body.id_live_preview:
        data = base64.b64encode(live.preview.data).decode()
        found |= {"live_preview": f"data:{live.preview.mime};base64,{data}", "id_live_preview": live.preview_number}
    return found
