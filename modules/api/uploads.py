"""Pictures that a page sends ahead of the job that begins with them."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from modules.api.callers import Caller
from modules.api.png_info import FILE
from modules.jobs.service import JobService
from modules.jobs.uploads import Quota, Uploads

AFTER = 60.0
"""Seconds until what a closed page has sent goes: what was pressed last may be on its way, and a reloaded page sends it anew."""


class Leaving(BaseModel):
    """The name that a page gave itself."""

    model_config = ConfigDict(extra="forbid")
    page: Annotated[str, Field(min_length=1, max_length=64)]


def build_uploads(service: JobService) -> APIRouter:
    """`POST /atelier/uploads`, whose body is a picture file; answers with the hash that names it from then on. With `?page=` it goes some
    time after `POST /atelier/uploads/leave` with that name, unless somebody else has sent it too."""
    router = APIRouter(prefix="/atelier")
    kept = Uploads(service.paths.cache / "uploads", service.policy.uploads)
    quota = Quota(service.policy.uploads_each)

    @router.post("/uploads", openapi_extra=FILE)
    async def upload(
        request: Request, caller: Caller, page: Annotated[str, Query(max_length=64)] = ""
    ) -> dict[str, Any]:
        data = await request.body()
        owner = (caller.name, page) if page else None
        with quota.taken(caller.name, len(data)):
            picture = await run_in_threadpool(kept.keep, data, owner=owner)
        return {"sha256": picture.sha256}

    @router.post("/uploads/leave")
    async def leave(body: Leaving, caller: Caller) -> dict[str, Any]:
        asyncio.get_running_loop().call_later(AFTER, kept.leave, (caller.name, body.page))
        return {}

    return router
