"""A1111's routes: `/sdapi/v1/*` and `/internal/*`, with its field names and shapes."""

import base64
import binascii
import contextlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Body
from starlette.concurrency import run_in_threadpool

from modules.api.bodies import PngInfoBody, Txt2ImgBody, check_plain
from modules.api.errors import JobFailed
from modules.api.pictures import read_picture
from modules.core.errors import AtelierError, InputError, QueueFull
from modules.images.encode import read_texts
from modules.images.infotext import parse_infotext
from modules.jobs.live import Live
from modules.jobs.service import JobService
from modules.jobs.store import ENDED, Image, Job
from modules.library.checkpoints import Checkpoint

USER = "api"  # API clients and the page take turns in the queue


def build_sdapi(service: JobService) -> APIRouter:
    """All of them."""
    router = APIRouter()
    _add_generation(router, service)
    _add_lists(router, service)
    _add_options(router, service)
    return router


def _add_generation(router: APIRouter, service: JobService) -> None:
    @router.post("/sdapi/v1/txt2img")
    async def txt2img(body: Txt2ImgBody) -> dict[str, Any]:
        request = body.to_request()
        job = await run_in_threadpool(service.submit, request, USER, body.force_task_id or None)
        async for seen in service.watch(job.id):
            job = seen
        if job.state not in ENDED:
            raise QueueFull(f'The server is being stopped. Job "{job.id}" goes on when it starts again.')
        if job.state == "failed":
            raise JobFailed(
                job.info.get("kind") or "EngineDied", job.message or "The job failed.", job.info.get("field")
            )
        images = service.images(job.id)
        data = await run_in_threadpool(lambda: [read_picture(image) for image in images]) if body.send_images else []
        info = {**info_of(job, images), **({"ignored_fields": sorted(body.model_extra)} if body.model_extra else {})}
        return {
            "images": [base64.b64encode(picture).decode() for picture in data],
            "parameters": body.model_dump(exclude=set(body.model_extra or ())),
            "info": json.dumps(info, ensure_ascii=False),
        }

    @router.get("/sdapi/v1/progress")
    def progress(skip_current_image: bool = False) -> dict[str, Any]:
        return progress_of(service.live(), service, skip_current_image)

    @router.post("/sdapi/v1/interrupt")
    def interrupt() -> dict[str, Any]:
        service.ask("interrupt")
        return {}

    @router.post("/sdapi/v1/skip")
    def skip() -> None:
        service.ask("skip")

    @router.post("/sdapi/v1/png-info")
    def png_info(body: PngInfoBody) -> dict[str, Any]:
        texts = read_texts(decode_base64("image", body.image))
        found = texts.pop("parameters", "")
        parsed = parse_infotext(found)
        parameters = {"Prompt": parsed.prompt, "Negative prompt": parsed.negative_prompt, **parsed.fields}
        width, _, height = parsed.fields.get("Size", "").partition("x")
        if height:
            parameters |= {"Size-1": width, "Size-2": height}
        return {"info": found, "items": texts, "parameters": parameters if found else {}}

    @router.get("/internal/ping")
    def ping() -> dict[str, Any]:
        return {}

    @router.get("/internal/pending-tasks")
    def pending_tasks() -> dict[str, Any]:
        tasks = [job.id for job in service.store.unfinished() if job.state == "queued"]
        return {"size": len(tasks), "tasks": tasks}


def _add_lists(router: APIRouter, service: JobService) -> None:
    @router.get("/sdapi/v1/samplers")
    def samplers() -> list[dict[str, Any]]:
        return [{"name": s.name, "aliases": list(s.aliases), "options": s.options} for s in service.catalogue.samplers]

    @router.get("/sdapi/v1/schedulers")
    def schedulers() -> list[dict[str, Any]]:
        return [{**s.model_dump(), "aliases": list(s.aliases) or None} for s in service.catalogue.schedules]

    @router.get("/sdapi/v1/sd-models")
    def sd_models() -> list[dict[str, Any]]:
        return [model_of(checkpoint) for checkpoint in service.checkpoints.list()]

    @router.post("/sdapi/v1/refresh-checkpoints")
    def refresh_checkpoints() -> None:
        """The folders are read at every request: there is nothing to refresh, and clients may go on asking for it."""


def _add_options(router: APIRouter, service: JobService) -> None:
    @router.get("/sdapi/v1/options")
    def options() -> dict[str, Any]:
        found = service.settings.current.flat()
        with contextlib.suppress(AtelierError):  # if it is gone, its name alone is what there is to tell
            found["sd_model_checkpoint"] = service.checkpoints.find(found["sd_model_checkpoint"]).title
        return found

    @router.post("/sdapi/v1/options")
    def set_options(values: Annotated[dict[str, Any], Body()]) -> None:
        for name, value in values.items():
            check_plain(name, value)
        service.change_options(values)


def info_of(job: Job, images: list[Image]) -> dict[str, Any]:
    """A1111's `info`: what the engine reported, and each picture that there is."""
    request, count, subseeds = job.request, len(images), job.info.get("all_subseeds", [])
    same = ("prompt", "negative_prompt", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size")
    found: dict[str, Any] = {
        **{name: getattr(request, name) for name in same},
        **job.info,
        "seed": job.seed,
        "all_seeds": [image.seed for image in images],
        "all_prompts": [request.prompt] * count,
        "all_negative_prompts": [request.negative_prompt] * count,
        "all_subseeds": [subseeds[image.position] for image in images if image.position < len(subseeds)],
        "infotexts": [image.infotext for image in images],
    }
    if job.message:
        found["warnings"] = [job.message]
    return found


def progress_of(live: Live | None, service: JobService, skip_image: bool) -> dict[str, Any]:
    """A1111's answer of `/progress`; all zeros when nothing runs."""
    job = service.store.get(live.job) if live else None
    at = live.progress if live else None
    wishes = service.wishes()
    state = {
        "skipped": "skip" in wishes,
        "interrupted": "interrupt" in wishes,
        "stopping_generation": False,
        "job": f"Batch {at.batch + 1} out of {at.batches}" if at else "",
        "job_count": at.batches if at else job.request.n_iter if job else 0,
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


def model_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """An entry of A1111's `/sd-models`; the hashes are null until the file has been read once."""
    return {
        "title": checkpoint.title,
        "model_name": checkpoint.model_name,
        "hash": checkpoint.short_hash,
        "sha256": checkpoint.sha256,
        "filename": str(checkpoint.path),
        "config": None,
    }


def decode_base64(field: str, text: str) -> bytes:
    """The bytes of base64 text, bare or as a data URL."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(field, f"{field} is not valid base64: {error}. Send the file's bytes in base64.") from error
