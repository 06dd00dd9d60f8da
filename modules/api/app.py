"""The API as one application; the page is mounted into it beside these routes."""

from collections.abc import Collection
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from modules.api.errors import add_error_handlers, answer
from modules.api.guard import LOOPBACK, Guard
from modules.api.pictures import build_atelier
from modules.api.sdapi import build_sdapi
from modules.core.flags import Flags
from modules.jobs.service import JobService

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def build_api(service: JobService, flags: Flags, *, hosts: Collection[str] = LOOPBACK) -> FastAPI:
    """All routes of the API, behind the guard. `hosts`: the names that the server answers to."""
    app = FastAPI(title="Atelier", docs_url=None, redoc_url=None)
    add_error_handlers(app)
    app.add_middleware(Guard, hosts=hosts)
    app.include_router(build_sdapi(service))
    app.include_router(build_atelier(service))
    app.include_router(_health(service))
    if flags.nowebui:
        app.get("/", include_in_schema=False)(_no_page)
    _close(app, "/sdapi/{path:path}", "/internal/{path:path}")
    return app


def _health(service: JobService) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    def healthz() -> dict[str, Any]:
        return {"status": "ok"}

    @router.get("/readyz")
    def readyz() -> Response:
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
