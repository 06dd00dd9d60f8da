"""A1111's routes: `/sdapi/v1/*` and `/internal/*`, with its field names and shapes."""

import base64
import contextlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Body
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from modules.api.bodies import GenerationBody, PngInfoBody, Txt2ImgBody, check_plain
from modules.api.callers import Caller
from modules.api.encoded import decode_base64
from modules.api.errors import JobFailed
from modules.api.headers import Asked, Headers, accepted
from modules.api.img2img import Img2ImgBody
from modules.api.paths import told_path
from modules.api.pictures import read_picture
from modules.api.script_list import script_infos, script_names
from modules.core.errors import AtelierError, QueueFull
from modules.images.infotext import parse_infotext
from modules.images.metadata.read import read_metadata
from modules.jobs.desk import PATH_OPTIONS, Desk
from modules.jobs.service import JobService
from modules.jobs.store import ENDED, Image, Job
from modules.library.shelf import Shelf
from modules.requests.events import FIRST_MAP, Failed, is_picture
from modules.requests.kinds import Request
from modules.requests.models import LoadModel, UnloadModels


def build_sdapi(service: JobService) -> APIRouter:
    """All of them."""
    router = APIRouter()
    _add_generation(router, service)
    _add_lists(router, service)
    _add_options(router, service)
    return router


def _add_generation(router: APIRouter, service: JobService) -> None:
    @router.post("/sdapi/v1/txt2img")
    async def txt2img(body: Txt2ImgBody, caller: Caller, asked: Headers) -> Any:
        request = await run_in_threadpool(body.to_request)  # which may hold a picture
        return await drawn(service.desk(caller), body, request, asked)

    @router.post("/sdapi/v1/img2img")
    async def img2img(body: Img2ImgBody, caller: Caller, asked: Headers) -> Any:
        request = await run_in_threadpool(body.to_request)  # which decodes pictures
        return await drawn(service.desk(caller), body, request, asked)

    @router.get("/sdapi/v1/progress")
    def progress(caller: Caller, skip_current_image: bool = False) -> dict[str, Any]:
        return progress_of(service.desk(caller), skip_current_image)

    @router.post("/sdapi/v1/interrupt")
    def interrupt(caller: Caller) -> dict[str, Any]:
        service.desk(caller).ask("interrupt")
        return {}

    @router.post("/sdapi/v1/skip")
    def skip(caller: Caller) -> None:
        service.desk(caller).ask("skip")

    @router.post("/sdapi/v1/png-info")
    def png_info(body: PngInfoBody) -> dict[str, Any]:
        found = read_metadata(decode_base64("image", body.image))
        parsed = parse_infotext(found.infotext)
        parameters = {"Prompt": parsed.prompt, "Negative prompt": parsed.negative_prompt, **parsed.fields}
        width, _, height = parsed.fields.get("Size", "").partition("x")
        if height:
            parameters |= {"Size-1": width, "Size-2": height}
        return {"info": found.infotext, "items": found.others, "parameters": parameters if found.infotext else {}}

    @router.get("/internal/ping")
    def ping() -> dict[str, Any]:
        return {}

    @router.get("/internal/pending-tasks")
    def pending_tasks(caller: Caller) -> dict[str, Any]:
        tasks = service.desk(caller).waiting()
        return {"size": len(tasks), "tasks": tasks}


def _add_lists(router: APIRouter, service: JobService) -> None:
    @router.get("/sdapi/v1/samplers")
    def samplers() -> list[dict[str, Any]]:
        return [{"name": s.name, "aliases": list(s.aliases), "options": s.options} for s in service.catalogue.samplers]

    @router.get("/sdapi/v1/schedulers")
    def schedulers() -> list[dict[str, Any]]:
        return [{**s.model_dump(), "aliases": list(s.aliases) or None} for s in service.catalogue.schedules]

    @router.get("/sdapi/v1/scripts")
    def scripts() -> dict[str, list[str]]:
        return script_names(service.catalogue.scripts, service.settings.current.controlnet.control_net_unit_count)

    @router.get("/sdapi/v1/script-info")
    def script_info() -> list[dict[str, Any]]:
        return script_infos(service.catalogue.scripts, service.settings.current.controlnet.control_net_unit_count)

    @router.post("/sdapi/v1/unload-checkpoint")
    def unload_checkpoint() -> dict[str, Any]:
        return between_jobs(service, UnloadModels())

    @router.post("/sdapi/v1/reload-checkpoint")
    def reload_checkpoint() -> dict[str, Any]:
        return between_jobs(service, LoadModel())

    @router.get("/sdapi/v1/sd-modules")
    def sd_modules(caller: Caller) -> list[dict[str, Any]]:
        return [{"model_name": m.path.name, "filename": told_path(m.path, caller)} for m in Shelf(service.paths).list()]


def _add_options(router: APIRouter, service: JobService) -> None:
    @router.get("/sdapi/v1/options")
    def options(caller: Caller) -> dict[str, Any]:
        hidden = () if caller.admin else PATH_OPTIONS
        found = {name: value for name, value in service.settings.current.flat().items() if name not in hidden}
        with contextlib.suppress(AtelierError):  # if it is gone, its name alone is what there is to tell
            found["sd_model_checkpoint"] = service.checkpoints.find(found["sd_model_checkpoint"]).title
        return found

    @router.post("/sdapi/v1/options")
    def set_options(values: Annotated[dict[str, Any], Body()], caller: Caller) -> None:
        for name, value in values.items():
            check_plain(name, value)
        service.desk(caller).change_options(values)


async def drawn(desk: Desk, body: GenerationBody, request: Request, asked: Asked) -> dict[str, Any] | JSONResponse:
    """A1111's answer to a body that became that request, once it is drawn; raises JobFailed, QueueFull."""
    key = asked.named(body, desk.service.settings.current.system.idempotency_hours)
    job = await run_in_threadpool(desk.submit, request, body.force_task_id or None, "api", key)
    if not asked.wait:
        return accepted(job, asked)
    async for seen in desk.watch(job.id):
        job = seen
    if job.state not in ENDED:
        raise QueueFull(f'The server is being stopped. Job "{job.id}" goes on when it starts again.')
    if job.state == "failed":
        raise JobFailed(job.info.get("kind") or "EngineDied", job.message or "The job failed.", job.info.get("field"))
    images = desk.images(job.id)
    data = await run_in_threadpool(lambda: [read_picture(image) for image in images]) if body.send_images else []
    info = {**info_of(job, images), **({"ignored_fields": sorted(body.model_extra)} if body.model_extra else {})}
    return {
        "images": [base64.b64encode(picture).decode() for picture in data],
        "parameters": body.repeated().model_dump(exclude=set(body.model_extra or ())),
        "info": json.dumps(info, ensure_ascii=False),
    }


def between_jobs(service: JobService, request: LoadModel | UnloadModels) -> dict[str, Any]:
    """A1111's empty answer, once the engine has done that; raises JobFailed."""
    ended = service.errands.ask(request)
    if isinstance(ended, Failed):
        raise JobFailed(ended.kind, ended.message, ended.field)
    return {}


def info_of(job: Job, images: list[Image]) -> dict[str, Any]:
    """A1111's `info`: what the engine reported, and each picture that there is."""
    request, pictures = job.request, [image for image in images if is_picture(image.position)]

    def each(name: str, otherwise: Any) -> list[Any]:
        values = job.info.get(name, [])
        return [values[i.position] if i.position < len(values) else otherwise for i in pictures]

    same = ("prompt", "negative_prompt", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size")
    found: dict[str, Any] = {
        **{name: getattr(request, name) for name in same},
        **{name: value for name, value in job.info.items() if name != "hidden"},
        "seed": job.seed,
        "all_seeds": [image.seed for image in pictures],
        "all_prompts": each("all_prompts", request.prompt),
        "all_negative_prompts": each("all_negative_prompts", request.negative_prompt),
        "all_subseeds": each("all_subseeds", -1),
        "infotexts": [image.infotext for image in images if image.position < FIRST_MAP],
    }
    if job.message:
        found["warnings"] = [job.message]
    return found


def progress_of(desk: Desk, skip_image: bool) -> dict[str, Any]:
    """A1111's answer of `/progress`; all zeros when nothing runs that may be seen."""
    live = desk.live()
    job = desk.found(live.job) if live else None
    at = live.progress if live else None
    wishes = desk.wishes()
    state = {
        "skipped": "skip" in wishes,
        "interrupted": "interrupt" in wishes,
        "stopping_generation": "finish" in wishes,
        "job": f"Batch {at.batch + 1} out of {at.batches}" if at else "",
        "job_count": at.batches if at else getattr(job.request, "n_iter", 1) if job else 0,
        "job_timestamp": job.info.get("job_timestamp", "0") if job else "0",
        "job_no": at.batch if at else 0,
        "sampling_step": at.step if at else 0,
        "sampling_steps": at.steps if at else 0,
    }
    preview = live.preview if live and not skip_image else None
    return {
        "progress": live.fraction if live else 0.0,
        "eta_relative": (live.seconds_left or 0.0) if live else 0.0,
        "state": state,
        "current_image": base64.b64encode(preview.data).decode() if preview else None,
        "textinfo": live.phase if live and not at else None,
        "current_task": live.job if live else None,
    }
