"""Our own routes of the queue: what waits, runs and is over; another order, other values, a pause, once more."""

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, StrictBool

from modules.api.bodies import check_plain
from modules.api.callers import Caller
from modules.core.user import User
from modules.core.validation import Whole
from modules.jobs.desk import Desk
from modules.jobs.scripts import shown
from modules.jobs.service import JobService
from modules.jobs.store import ENDED, Image, Job

ENDED_SHOWN = 30
PICTURES_SHOWN = 8
USERS = ("", "api")  # the page and programs, which pause together


class Pause(BaseModel):
    """Whether jobs wait from now on."""

    model_config = ConfigDict(extra="forbid")
    paused: StrictBool


class Place(BaseModel):
    """Where to, 0 the first."""

    model_config = ConfigDict(extra="forbid")
    place: Whole


def build_queue(service: JobService) -> APIRouter:
    """The routes below `/atelier/queue`; each answers with the whole queue as it is then."""
    router = APIRouter(prefix="/atelier/queue")

    @router.get("")
    def queue(caller: Caller) -> dict[str, Any]:
        return told(service.desk(caller))

    @router.post("/pause")
    def pause(body: Pause, caller: Caller) -> dict[str, Any]:
        """One's own jobs."""
        for user in names_of(caller):
            service.queue.pause(user, body.paused)
        return told(service.desk(caller))

    @router.post("/{job_id}/move")
    def move(job_id: str, body: Place, caller: Caller) -> dict[str, Any]:
        desk = service.desk(caller)
        service.queue.move(desk.job(job_id).id, body.place)
        return told(desk)

    @router.post("/{job_id}/edit")
    def edit(job_id: str, values: Annotated[dict[str, Any], Body()], caller: Caller) -> dict[str, Any]:
        for name, value in values.items():
            check_plain(name, value)
        desk = service.desk(caller)
        service.queue.edit(desk.job(job_id).id, values)
        return told(desk)

    @router.post("/{job_id}/again")
    def again(job_id: str, caller: Caller) -> dict[str, Any]:
        desk = service.desk(caller)
        job = desk.again(job_id)
        return {**told(desk), "job": job.id}

    return router


def names_of(user: User) -> tuple[str, ...]:
    """The names of that user's jobs."""
    return (user.name,) if user.name else USERS


def told(desk: Desk) -> dict[str, Any]:
    """`{"paused", "full", "jobs"}`: the running job, those that wait in their order, then those over, the latest first. `full`: why jobs wait
    for room on a disk, or None."""
    service = desk.service
    unfinished = service.in_order(desk.owns)
    over = [job for job in desk.recent(ENDED_SHOWN + len(unfinished)) if job.state in ENDED]
    over.sort(key=lambda job: job.ended or 0, reverse=True)
    paused, names = service.store.paused(), names_of(desk.user)
    full = service.queue.full.told(names)
    jobs = [*unfinished, *over[:ENDED_SHOWN]]
    images = service.store.images_of([job.id for job in jobs])
    return {
        "paused": bool(full) or not paused.isdisjoint(names),
        "full": full,
        "jobs": [entry(service, job, shown(images[job.id], job.info.get("hidden", ()))) for job in jobs],
    }


def entry(service: JobService, job: Job, images: list[Image]) -> dict[str, Any]:
    """One job in few words. Pictures by their ids; times in seconds since 1970."""
    live = service.live(job.id) if job.state == "running" else None
    pictures = [image.id for image in images]
    request = job.request
    values = {name: getattr(request, name) for name in service.queue.editable(job)}
    return {
        "id": job.id,
        "user": job.user,
        "kind": job.kind,
        "state": job.state,
        "progress": live.fraction if live else float(job.state == "done"),
        "seconds_left": live.seconds_left if live else None,
        "preview": live.preview_number if live else 0,
        "message": job.message,
        "submitted": job.submitted,
        "took": job.ended - job.started if job.ended and job.started else None,
        "checkpoint": job.options.get("sd_model_checkpoint"),
        "count": getattr(request, "count", None),
        "values": values,
        "pictures": pictures[:PICTURES_SHOWN],
        "picture_count": len(pictures),
    }
