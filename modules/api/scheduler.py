"""The agent-scheduler extension's routes over our own queue: `/agent-scheduler/v1/*`, in its names and shapes."""

import base64
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from modules.api.archives import zip_answer
from modules.api.bodies import Body, GenerationBody, Txt2ImgBody
from modules.api.callers import Caller
from modules.api.img2img import Img2ImgBody
from modules.api.pictures import read_picture
from modules.api.queue import names_of
from modules.core.errors import InputError, NotFound, short
from modules.core.user import User
from modules.core.validation import Text
from modules.images.encode import ending_of
from modules.jobs.desk import Desk
from modules.jobs.service import JobService
from modules.jobs.store import ENDED, Job, State

STATUS: dict[State, str] = {
    "queued": "pending",
    "running": "running",
    "done": "done",
    "stopped": "interrupted",
    "failed": "failed",
}
MIME = {".jpg": "jpeg", ".png": "png", ".webp": "webp", ".avif": "avif", ".gif": "gif"}
MAX_NAME = 200
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=10**9)]


class Task(GenerationBody):
    """What its bodies have besides: a checkpoint and a VAE by name, an address to be told at the end."""

    checkpoint: Text | None = None
    vae: Text | None = None
    name: Text | None = None
    callback_url: Text | None = None

    def overridden(self) -> "Task":
        """With both in `override_settings`."""
        named = {"sd_model_checkpoint": self.checkpoint, "sd_vae": self.vae}
        settings = {**(self.override_settings or {}), **{name: value for name, value in named.items() if value}}
        return self.model_copy(update={"override_settings": settings})


class Txt2ImgTask(Txt2ImgBody, Task):
    """`POST /queue/txt2img`."""


class Img2ImgTask(Img2ImgBody, Task):
    """`POST /queue/img2img`."""


class Changes(Body):
    """`PUT /task/ID`: what is left out stays."""

    name: Text | None = None
    checkpoint: Text | None = None
    params: dict[str, Any] | None = None


def build_scheduler(service: JobService) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/agent-scheduler/v1")
    _add_queue(router, service)
    _add_tasks(router, service)
    _add_wishes(router, service)
    return router


def _add_queue(router: APIRouter, service: JobService) -> None:
    @router.post("/queue/txt2img")
    def queue_txt2img(body: Txt2ImgTask, caller: Caller) -> dict[str, str]:
        return queued(service.desk(caller), body)

    @router.post("/queue/img2img")
    def queue_img2img(body: Img2ImgTask, caller: Caller) -> dict[str, str]:
        return queued(service.desk(caller), body)

    @router.get("/queue")
    def queue_status(caller: Caller, limit: Limit = 20, offset: Offset = 0) -> dict[str, Any]:
        desk = service.desk(caller)
        unfinished = service.in_order(desk.owns)
        running = next((job.id for job in unfinished if job.state == "running"), None)
        paused = service.store.paused() | service.queue.full.users()
        return {
            "current_task_id": running,
            "pending_tasks": [
                task_of(desk, job, offset + i) for i, job in enumerate(unfinished[offset : offset + limit])
            ],
            "total_pending_tasks": len(unfinished),
            "paused": any(name in paused for name in names_of(caller)),
        }

    @router.post("/queue/pause")
    def pause(caller: Caller) -> dict[str, Any]:
        return paused(service, caller, True)

    @router.post("/queue/resume")
    def resume(caller: Caller) -> dict[str, Any]:
        return paused(service, caller, False)

    @router.post("/queue/clear")
    def clear_queue(caller: Caller) -> dict[str, Any]:
        """One's own jobs that wait."""
        desk = service.desk(caller)
        waiting = [job for job in service.in_order() if job.state == "queued" and job.user in names_of(desk.user)]
        for job in waiting:
            service.ask("interrupt", job.id)
        return good("Queue cleared")

    @router.get("/samplers")
    def samplers() -> list[str]:
        return [sampler.name for sampler in service.catalogue.samplers]

    @router.get("/sd-models")
    def sd_models() -> list[str]:
        return [checkpoint.title for checkpoint in service.checkpoints.list()]


def _add_tasks(router: APIRouter, service: JobService) -> None:
    @router.get("/history")
    def history(
        caller: Caller,
        status: Literal["all", "done", "failed", "interrupted", "bookmarked"] = "all",
        limit: Limit = 20,
        offset: Offset = 0,
    ) -> dict[str, Any]:
        desk = service.desk(caller)
        states: tuple[State, ...] = tuple(state for state in ENDED if status in ("all", "bookmarked", STATUS[state]))
        user = None if caller.admin else caller.name
        marked = status == "bookmarked"
        jobs, total = service.store.over(user, states, bookmarked=marked, count=limit, offset=offset)
        return {"total": total, "tasks": [task_of(desk, job) for job in jobs]}

    @router.post("/history/clear")
    def clear_history(caller: Caller) -> dict[str, Any]:
        """One's own jobs that are over, those that are marked aside; their saved pictures stay."""
        desk = service.desk(caller)
        for user in names_of(caller):
            jobs, _ = service.store.over(user, ENDED, bookmarked=False, count=10**9, offset=0)
            for job in jobs:
                if not service.store.label_of(job.id)[1]:
                    desk.forget(job.id)
        return good("History cleared")

    @router.get("/task/{job_id}")
    def task(job_id: str, caller: Caller) -> dict[str, Any]:
        desk = service.desk(caller)
        job = desk.job(job_id)
        return {"success": True, "data": task_of(desk, job, place_of(desk, job))}

    @router.put("/task/{job_id}")
    def update(job_id: str, body: Changes, caller: Caller) -> dict[str, Any]:
        job = service.desk(caller).job(job_id)
        changes = dict(body.params or {})
        if body.checkpoint:
            changes["override_settings"] = {**job.request.override_settings, "sd_model_checkpoint": body.checkpoint}
        name = checked_name(body.name) if body.name is not None else None
        if changes:
            service.queue.edit(job.id, changes)
        if name is not None:
            service.store.label(job.id, name=name)
        return good("Task updated.")

    @router.delete("/task/{job_id}")
    def delete(job_id: str, caller: Caller) -> dict[str, Any]:
        desk = service.desk(caller)
        running = desk.job(job_id).state not in ENDED
        desk.forget(job_id)
        return good("Task interrupted" if running else "Task deleted")

    @router.get("/task/{job_id}/position")
    def position(job_id: str, caller: Caller) -> dict[str, Any]:
        desk = service.desk(caller)
        job = desk.job(job_id)
        return {"success": True, "data": {"status": STATUS[job.state], "position": place_of(desk, job)}}

    @router.get("/task/{job_id}/results", response_model=None)
    def results(job_id: str, caller: Caller, zip: bool = False) -> dict[str, Any] | StreamingResponse:
        desk = service.desk(caller)
        job = desk.job(job_id)
        if job.state != "done":
            return {"success": False, "message": f"Task is {STATUS[job.state]}"}
        if zip:
            files = ((f"{i}-{image.path.name}", read_picture(image)) for i, image in enumerate(desk.images(job.id)))
            return zip_answer(files, f'attachment; filename="{job.number}.zip"')
        return {
            "success": True,
            "data": [picture_of(read_picture(image), image.infotext) for image in desk.images(job.id)],
        }


def _add_wishes(router: APIRouter, service: JobService) -> None:
    @router.post("/task/requeue-failed")
    def requeue_failed(caller: Caller) -> dict[str, Any]:
        desk = service.desk(caller)
        user = None if caller.admin else caller.name
        failed, _ = service.store.over(user, ("failed",), bookmarked=False, count=1000, offset=0)
        for job in failed:
            desk.again(job.id)
        return good(f"Requeued {len(failed)} failed tasks") if failed else bad("No failed tasks")

    @router.post("/task/{job_id}/run")
    def run(job_id: str, caller: Caller) -> dict[str, Any]:
        service.queue.move(service.desk(caller).job(job_id).id, 0)
        return good("Task is scheduled to run next")

    @router.post("/task/{job_id}/requeue")
    def requeue(job_id: str, caller: Caller) -> dict[str, Any]:
        job = service.desk(caller).again(job_id)
        return {**good("Task requeued"), "task_id": job.id}

    @router.post("/task/{job_id}/bookmark")
    def bookmark(job_id: str, caller: Caller) -> dict[str, Any]:
        service.store.label(service.desk(caller).job(job_id).id, bookmarked=True)
        return good("Task bookmarked")

    @router.post("/task/{job_id}/unbookmark")
    def unbookmark(job_id: str, caller: Caller) -> dict[str, Any]:
        service.store.label(service.desk(caller).job(job_id).id, bookmarked=False)
        return good("Task unbookmarked")

    @router.post("/task/{job_id}/rename")
    def rename(job_id: str, name: str, caller: Caller) -> dict[str, Any]:
        service.store.label(service.desk(caller).job(job_id).id, name=checked_name(name))
        return good("Task renamed.")

    @router.post("/task/{job_id}/move/{over_id}")
    def move(job_id: str, over_id: str, caller: Caller) -> dict[str, Any]:
        """Before another job, or to the "top" or "bottom"."""
        desk = service.desk(caller)
        job = desk.job(job_id)
        own = [each.id for each in service.store.unfinished() if each.state == "queued" and each.user == job.user]
        if over_id not in (*own, "top", "bottom"):
            raise NotFound(f'There is no waiting job {short(over_id)} beside it. Name one, or "top" or "bottom".')
        place = {"top": 0, "bottom": len(own)}.get(over_id)
        service.queue.move(job.id, own.index(over_id) if place is None else place)
        return good(f"Task moved to {over_id}" if place is not None else "Task moved")


def queued(desk: Desk, body: Txt2ImgTask | Img2ImgTask) -> dict[str, str]:
    """The new job."""
    name = checked_name(body.name) if body.name else None
    found = body.overridden()
    assert isinstance(found, Txt2ImgTask | Img2ImgTask)
    job = desk.submit(found.to_request(), body.force_task_id or None, "api", callback_url=body.callback_url)
    if name:
        desk.service.store.label(job.id, name=name)
    return {"task_id": job.id}


def paused(service: JobService, user: User, wish: bool) -> dict[str, Any]:
    """Pause one's own jobs, or have them go on."""
    for name in names_of(user):
        service.queue.pause(name, wish)
    return good("Queue paused." if wish else "Queue resumed.")


def checked_name(name: str) -> str:
    """A name for a job; raises InputError."""
    if not name.isprintable() or len(name) > MAX_NAME:
        raise InputError("name", f"name {short(name)} must be up to {MAX_NAME} printable letters.")
    return name


def place_of(desk: Desk, job: Job) -> int | None:
    """How many jobs come before it; None for one that does not wait."""
    return desk.service.position(job.id) if job.state == "queued" else None


def task_of(desk: Desk, job: Job, position: int | None = None) -> dict[str, Any]:
    """A job in the extension's shape; times in milliseconds since 1970."""
    name, bookmarked = desk.service.store.label_of(job.id)
    hook = desk.service.store.calls.hook_of(job.id)
    params = job.request.model_dump(mode="json", exclude={"init_images", "mask", "script_args", "control"})
    return {
        "id": job.id,
        "api_task_id": None,
        "api_task_callback": hook.url if hook else None,
        "name": name,
        "type": job.kind,
        "status": STATUS[job.state],
        "params": {**params, "checkpoint": job.options.get("sd_model_checkpoint")},
        "priority": job.number,
        "position": position,
        "result": job.message,
        "bookmarked": bookmarked,
        "created_at": round(job.submitted * 1000),
        "updated_at": round((job.ended or job.started or job.submitted) * 1000),
    }


def picture_of(data: bytes, infotext: str) -> dict[str, str]:
    """A picture as a data URL, and its parameters."""
    kind = MIME[ending_of(data)]
    return {"image": f"data:image/{kind};base64,{base64.b64encode(data).decode()}", "infotext": infotext}


def good(message: str) -> dict[str, Any]:
    """It was done."""
    return {"success": True, "message": message}


def bad(message: str) -> dict[str, Any]:
    """There was nothing to do."""
    return {"success": False, "message": message}
