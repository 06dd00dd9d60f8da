"""The API as one application; the page is mounted into it beside these routes."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from modules.api.accounts.routes import build_accounts
from modules.api.cards import build_cards
from modules.api.control_routes import build_control
from modules.api.description import describe
from modules.api.detail import build_detail
from modules.api.downloads import build_downloads
from modules.api.errors import add_error_handlers, answer
from modules.api.extensions import add_extensions, build_extensions
from modules.api.extra_networks import build_extra_networks
from modules.api.extras import build_extras
from modules.api.files import build_files
from modules.api.gallery import build_gallery_routes
from modules.api.guard import Door, Guard
from modules.api.metrics import build_metrics
from modules.api.models import build_models
from modules.api.pictures import build_atelier
from modules.api.plan import build_plan
from modules.api.png_info import build_png_info
from modules.api.power import Power, build_power
from modules.api.prompting.history import build_history
from modules.api.prompting.routes import build_prompting
from modules.api.queue import build_queue
from modules.api.reproduce import build_reproduce
from modules.api.scheduler import build_scheduler
from modules.api.scheduler_files import build_scheduler_files
from modules.api.sdapi import build_sdapi
from modules.api.select import build_select
from modules.api.settings import build_settings
from modules.api.system import build_system
from modules.api.task_progress import build_task_progress
from modules.api.templates import build_templates
from modules.api.uploads import build_uploads
from modules.api.webhooks import build_webhooks
from modules.api.welcome import build_welcome
from modules.core.flags import Flags
from modules.jobs.service import JobService
from modules.library.downloads.queue import Downloads
from modules.library.thumbnails import Thumbnails
from modules.plugins.extensions import Extension

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def build_api(
    service: JobService,
    flags: Flags,
    *,
    downloads: Downloads | None = None,
    door: Door | None = None,
    power: Power | None = None,
    extensions: Sequence[Extension] = (),
) -> FastAPI:
    """All routes of the API, behind the guard, which goes by `door`. Without `downloads` there are no routes for them.

    `power` is told when the API is asked to end the server. `extensions`: all there are; those without a trouble are added.
    """
    app = FastAPI(title="Atelier", docs_url=None, redoc_url=None)
    add_error_handlers(app)
    door = door or Door(network=flags.network, port=flags.port)
    app.add_middleware(Guard, door=door)
    app.include_router(build_accounts(door, service))
    app.include_router(build_sdapi(service))
    app.include_router(build_task_progress(service))
    failed = {one.name: one for one in add_extensions(app, [one for one in extensions if one.trouble is None])}
    extensions, power = [failed.get(one.name, one) for one in extensions], power or Power()
    app.include_router(build_system(service, flags, extensions))
    app.include_router(build_extensions(service, power, extensions))
    app.include_router(build_metrics(service))
    app.include_router(build_welcome(service, flags))
    app.include_router(build_power(power, flags))
    app.include_router(build_extras(service))
    app.include_router(build_models(service))
    thumbnails = Thumbnails(service.paths.cache / "thumbnails")
    app.include_router(build_extra_networks(service))
    app.include_router(build_cards(service, thumbnails))
    app.include_router(build_gallery_routes(service.album, thumbnails, service.meaning))
    app.include_router(build_atelier(service))
    app.include_router(build_files(service))
    app.include_router(build_uploads(service))
    app.include_router(build_templates(service))
    app.include_router(build_prompting(service))
    app.include_router(build_history(service))
    app.include_router(build_png_info())
    app.include_router(build_reproduce(service))
    app.include_router(build_detail(service.detectors))
    app.include_router(build_control(service))
    app.include_router(build_settings(service))
    app.include_router(build_queue(service))
    app.include_router(build_plan(service))
    app.include_router(build_scheduler(service))
    app.include_router(build_scheduler_files(service))
    app.include_router(build_webhooks(service))
    app.include_router(build_select(service, downloads))
    if downloads is not None:
        app.include_router(build_downloads(downloads))
    app.include_router(_health(service))
    if flags.nowebui:
        app.get("/", include_in_schema=False)(_no_page)
    describe(app)
    _close(
        app, "/sdapi/{path:path}", "/internal/{path:path}", "/controlnet/{path:path}", "/agent-scheduler/{path:path}"
    )
    return app


def _health(service: JobService) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, Any]:
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> Response:
        if service.engine_ready:
            return JSONResponse({"status": "ready"})
        return answer(503, "NotReady", "The engine is still starting. Jobs may be sent already: they wait for it.")

    return router


def _no_page() -> dict[str, Any]:
    return {"name": "Atelier", "page": None, "api": "/sdapi/v1", "schema": "/openapi.json"}


def _close(app: FastAPI, *patterns: str) -> None:
    """Answer what no route of the API answers here, so that a page mounted at "/" never sees it."""

    async def unknown(request: Request) -> Response:
        methods = sorted(method.upper() for method in app.openapi()["paths"].get(request.url.path, ()))
        if methods and request.method not in methods:
            raise HTTPException(405, headers={"Allow": ", ".join(methods)})
        raise HTTPException(404)

    for pattern in patterns:
        app.router.add_route(pattern, unknown, methods=METHODS, include_in_schema=False)
