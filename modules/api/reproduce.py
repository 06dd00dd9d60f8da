"""Making a picture again, and comparing the two: `POST /atelier/reproduce` and `/atelier/jobs/ID/compare`, whose bodies are its file."""

import math
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from modules.api.callers import Caller
from modules.api.png_info import FILE
from modules.images.metadata.read import read_metadata
from modules.jobs.again import compare, request_of
from modules.jobs.desk import Desk
from modules.jobs.service import JobService


def build_reproduce(service: JobService) -> APIRouter:
    """Both routes."""
    router = APIRouter(prefix="/atelier")

    @router.post("/reproduce", openapi_extra=FILE)
    async def reproduce(request: Request, caller: Caller) -> dict[str, Any]:
        data = await request.body()
        return await run_in_threadpool(submitted, data, service.desk(caller))

    @router.post("/jobs/{job_id}/compare", openapi_extra=FILE)
    async def compared(job_id: str, request: Request, caller: Caller) -> dict[str, Any]:
        data = await request.body()
        service.desk(caller).job(job_id)
        found = await run_in_threadpool(compare, data, job_id, service)
        told = dict(zip(("key", "old", "new"), found.difference, strict=True)) if found.difference else None
        same = found.psnr is not None and math.isinf(found.psnr)
        return {
            "identical": same,
            "psnr": None if same else found.psnr,
            "difference": told,
            "message": found.message,
        }

    return router


def submitted(data: bytes, desk: Desk) -> dict[str, Any]:
    """The job's id, and sentences about what will not be as it was."""
    request, warnings = request_of(read_metadata(data), desk.service)
    return {"job": desk.submit(request).id, "warnings": warnings}
