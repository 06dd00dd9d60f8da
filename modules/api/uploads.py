"""Pictures that a page sends ahead of the job that begins with them."""

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from modules.api.png_info import FILE
from modules.jobs.service import JobService
from modules.jobs.uploads import Uploads


def build_uploads(service: JobService) -> APIRouter:
    """`POST /atelier/uploads`, whose body is a picture file; answers with the hash that names it from then on."""
    router = APIRouter(prefix="/atelier")
    kept = Uploads(service.paths.cache / "uploads")

    @router.post("/uploads", openapi_extra=FILE)
    async def upload(request: Request) -> dict[str, Any]:
        data = await request.body()
        picture = await run_in_threadpool(kept.keep, data)
        return {"sha256": picture.sha256}

    return router
