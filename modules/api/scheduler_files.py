"""`/agent-scheduler/v1/export` and `/import`: jobs that wait as a file, which this server, another or the extension's own makes.

An entry is a task in the extension's shape; its `request` and `pictures` (base64, by hash) make the job again whole. An entry without
them is the extension's own, whose `params.args` are those of txt2img or img2img.
"""

import base64
import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field, ValidationError

from modules.api.bodies import Body, Txt2ImgBody, check_plain
from modules.api.callers import Caller
from modules.api.encoded import decode_base64
from modules.api.img2img import Img2ImgBody
from modules.api.scheduler import Offset, checked_name, good, task_of
from modules.core.errors import InputError, NotFound, short
from modules.core.validation import Text, input_error
from modules.images.reading import take_picture
from modules.jobs.desk import Desk
from modules.jobs.keys import JOB_ID
from modules.jobs.service import JobService
from modules.jobs.store import Job
from modules.requests.kinds import KINDS, Request
from modules.requests.pictures import pictures_of, with_pictures

FIELD = "content"
BODIES: Mapping[str, type[Txt2ImgBody | Img2ImgBody]] = {"txt2img": Txt2ImgBody, "img2img": Img2ImgBody}


class Content(Body):
    """`POST /import`: what `/export` answered, as text."""

    content: Text = Field(min_length=2)


def build_scheduler_files(service: JobService) -> APIRouter:
    """Both."""
    router = APIRouter(prefix="/agent-scheduler/v1")

    @router.get("/export")
    def export(
        caller: Caller, limit: Annotated[int, Query(ge=1, le=1000)] = 1000, offset: Offset = 0
    ) -> list[dict[str, Any]]:
        desk = service.desk(caller)
        waiting = [job for job in service.in_order(desk.owns) if job.state == "queued"]
        return [entry_of(desk, job) for job in waiting[offset : offset + limit]]

    @router.post("/import")
    def add(body: Content, caller: Caller) -> dict[str, Any]:
        jobs = import_all(service.desk(caller), body.content)
        return {**good("Queue imported"), "task_ids": [job.id for job in jobs]}

    return router


def entry_of(desk: Desk, job: Job) -> dict[str, Any]:
    """One job, whole; raises StorageError when its pictures are lost."""
    request = desk.service.store.whole_request(job)
    pictures = {picture.sha256: base64.b64encode(picture.data).decode() for picture in pictures_of(request)}
    return {**task_of(desk, job), "request": request.model_dump(mode="json"), "pictures": pictures}


def import_all(desk: Desk, text: str) -> list[Job]:
    """The jobs of such a file, all of them or none, behind the caller's others. Raises InputError, NotFound, Forbidden, QueueFull."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(FIELD, f"{FIELD} is no JSON. Send what /agent-scheduler/v1/export answered.") from error
    check_plain(FIELD, entries)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(FIELD, f"{FIELD} is no list of tasks. Send what /agent-scheduler/v1/export answered.")
    wanted = [_wanted(number, entry) for number, entry in enumerate(entries)]
    jobs: list[Job] = []
    try:
        for request, name, job_id, callback in wanted:
            free = job_id if job_id and desk.service.store.get(job_id) is None else None
            jobs.append(desk.submit(request, free, "api", callback_url=callback))
            if name:
                desk.service.store.label(jobs[-1].id, name=name)
    except BaseException:
        for job in jobs:
            desk.service.ask("interrupt", job.id)
        raise
    return jobs


def _wanted(number: int, entry: dict[str, Any]) -> tuple[Request, str, str | None, str | None]:
    """What one entry asks for: the request, a name ("" for none), the id it had if that can be one, the address that is told."""
    where = f"{FIELD}.{number}"
    try:
        request = _own(where, entry) if isinstance(entry.get("request"), dict) else _theirs(where, entry)
        name = checked_name(entry["name"]) if isinstance(entry.get("name"), str) else ""
    except ValidationError as error:
        found = input_error(error)
        raise InputError(f"{where}.{found.field}", f"Task {number}: {found.message}") from error
    except (InputError, NotFound) as error:
        raise InputError(where, f"Task {number}: {error.message}") from error
    job_id, callback = entry.get("id"), entry.get("api_task_callback")
    known = isinstance(job_id, str) and JOB_ID.fullmatch(job_id) is not None
    return request, name, job_id if known else None, callback if isinstance(callback, str) else None


def _own(where: str, entry: dict[str, Any]) -> Request:
    kind, pictures = entry.get("type"), entry.get("pictures") or {}
    if kind not in KINDS:
        raise InputError(where, f"type is {short(kind)}: it must be one of {', '.join(KINDS)}.")
    if not isinstance(pictures, dict) or not all(isinstance(data, str) for data in pictures.values()):
        raise InputError(where, "pictures are no object of base64 texts by their hashes. Export the queue again.")
    found = [take_picture("pictures", decode_base64("pictures", data)) for data in pictures.values()]
    request: Any = KINDS[kind].model_validate(entry["request"])
    try:
        return with_pictures(request, {picture.sha256: picture.data for picture in found})
    except KeyError as error:
        raise InputError(where, "pictures lack one that the request begins with. Export the queue again.") from error


def _theirs(where: str, entry: dict[str, Any]) -> Request:
    """Of a file of the extension: what programs sent it. Tasks of its page are kept in its own host's form, which says nothing here."""
    params, kind = entry.get("params"), entry.get("type")
    try:
        params = json.loads(params) if isinstance(params, str) else params
    except (ValueError, RecursionError) as error:
        raise InputError(where, "params are no JSON. Export the queue again.") from error
    args = params.get("args") if isinstance(params, dict) else None
    if not isinstance(args, dict) or not isinstance(params, dict) or kind not in BODIES:
        raise InputError(where, "it has no request and no params.args of txt2img or img2img. Export the queue again.")
    if params.get("is_ui"):
        raise InputError(where, "it was queued by the page of another program, and cannot be read here. Queue it anew.")
    body = BODIES[str(kind)].model_validate(args)
    named = {"sd_model_checkpoint": params.get("checkpoint"), "sd_vae": params.get("vae")}
    settings = {**(body.override_settings or {}), **{key: value for key, value in named.items() if value}}
    return body.model_copy(update={"override_settings": settings}).to_request()
