"""Our own routes that make model files: merging checkpoints, extracting and merging LoRAs; and stopping a job."""

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from modules.api.bodies import Body
from modules.api.callers import Caller
from modules.api.pictures import report
from modules.core.user import User
from modules.jobs.service import JobService
from modules.requests.kinds import Request
from modules.requests.merge import ExtractLoraRequest, MergeLorasRequest, MergeRequest


def build_files(service: JobService) -> APIRouter:
    """The routes; each answers at once with its job, which `/atelier/jobs/ID` goes on telling of."""
    router = APIRouter()

    @router.post("/atelier/merge")
    async def merge(request: MergeRequest, caller: Caller) -> dict[str, Any]:
        return await submitted(service, request, caller)

    @router.post("/atelier/extract-lora")
    async def extract_lora(request: ExtractLoraRequest, caller: Caller) -> dict[str, Any]:
        return await submitted(service, request, caller)

    @router.post("/atelier/merge-loras")
    async def merge_loras(request: MergeLorasRequest, caller: Caller) -> dict[str, Any]:
        return await submitted(service, request, caller)

    @router.post("/atelier/jobs/{job_id}/interrupt")
    def interrupt(job_id: str, caller: Caller, after_current: bool = False) -> dict[str, Any]:
        desk = service.desk(caller)
        desk.ask("finish" if after_current else "interrupt", job_id)
        return report(service, desk.job(job_id))

    @router.post("/atelier/jobs/{job_id}/forever")
    def forever(job_id: str, body: ForeverBody, caller: Caller) -> dict[str, Any]:
        """Draw it over and over, or end that. `job`: the last of those that followed it; `was`: whether it is, or was, drawn so."""
        last, was = service.desk(caller).forever(job_id, body.on)
        return {"job": last, "was": was}

    return router


class ForeverBody(Body):
    """Whether that is wished."""

    on: bool = True


async def submitted(service: JobService, request: Request, user: User) -> dict[str, Any]:
    """The new job of that request, as clients see it."""
    job = await run_in_threadpool(service.desk(user).submit, request, channel="api")
    return report(service, job)
