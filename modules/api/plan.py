"""`POST /atelier/plan/txt2img` and `/img2img`: what such a body would come to; nothing is stored or drawn."""

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from modules.api.bodies import GenerationBody, Txt2ImgBody
from modules.api.callers import Caller
from modules.api.img2img import Img2ImgBody
from modules.jobs.checks import final_size
from modules.jobs.desk import Desk
from modules.jobs.plan import Plan, make_plan
from modules.jobs.service import JobService

MOST = 1000
"""Prompts in an answer."""


def build_plan(service: JobService) -> APIRouter:
    """Both routes; they take the bodies of A1111's."""
    router = APIRouter(prefix="/atelier/plan")

    @router.post("/txt2img")
    async def plan_txt2img(body: Txt2ImgBody, caller: Caller) -> dict[str, Any]:
        return await run_in_threadpool(planned, service.desk(caller), body)

    @router.post("/img2img")
    async def plan_img2img(body: Img2ImgBody, caller: Caller) -> dict[str, Any]:
        return await run_in_threadpool(planned, service.desk(caller), body)

    return router


def planned(desk: Desk, body: Txt2ImgBody | Img2ImgBody) -> dict[str, Any]:
    """The answer; raises InputError, Forbidden."""
    request = body.to_request()
    desk.check_places(request)
    return told(make_plan(desk.service, request), body)


def told(plan: Plan, body: GenerationBody) -> dict[str, Any]:
    """The plan as JSON: sizes in pixels and bytes; `seconds` is null until a job like it has been done here."""
    width, height = final_size(plan.request)
    return {
        "ready": not plan.missing,
        "pictures": plan.pictures,
        "width": width,
        "height": height,
        "prompts": [one.prompt for one in plan.drawn[:MOST]],
        "negative_prompts": [one.negative_prompt for one in plan.drawn[:MOST]],
        "checkpoint": plan.checkpoint,
        "networks": plan.networks,
        "missing": [{"field": each.field, "message": each.message} for each in plan.missing],
        "memory": {"weights": plan.weights, "work": plan.work, "total": plan.weights + plan.work},
        "seconds": plan.seconds,
        "compared_with": plan.compared,
        "warnings": plan.warnings,
        "ignored_fields": sorted(body.model_extra or ()),
    }
