"""A1111's routes about the program itself: memory, flags, extensions, a report for those who help; and training, which is not here."""

import platform
import random
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import psutil
from fastapi import APIRouter, Body
from starlette.responses import JSONResponse, Response

from modules.api.callers import Caller
from modules.api.errors import answer
from modules.api.extensions import items
from modules.core.flags import Flags
from modules.core.paths import ROOT
from modules.jobs.service import JobService
from modules.plugins.extensions import Extension

NO_TRAINING = "Embeddings and hypernetworks are not made or trained here yet. Train with another program and put the file into models/."
TRAINING = ("create/embedding", "create/hypernetwork", "train/embedding", "train/hypernetwork")
SECRETS = ("secret", "password", "token")
"""Parts of the names of settings that a report does not tell."""


def build_system(service: JobService, flags: Flags, extensions: Sequence[Extension] = ()) -> APIRouter:
    """All of them."""
    router = APIRouter()
    number = random.SystemRandom().randrange(2**31)

    @router.get("/sdapi/v1/memory")
    def get_memory() -> dict[str, Any]:
        """Bytes. `ram`: used by this program, and free and total of the machine; `cuda`: as it was when the last job ended."""
        return memory_of(service)

    @router.get("/sdapi/v1/cmd-flags")
    def get_cmd_flags() -> dict[str, Any]:
        return dict(flags.values)

    @router.get("/sdapi/v1/extensions")
    def get_extensions_list() -> list[dict[str, Any]]:
        return items(extensions)

    for path in TRAINING:
        router.add_api_route(f"/sdapi/v1/{path}", _untrained, methods=["POST"], name=path.replace("/", "_"))

    @router.get("/internal/sysinfo")
    def sysinfo() -> JSONResponse:
        return JSONResponse(report(service, flags))

    @router.get("/internal/sysinfo-download")
    def sysinfo_download() -> Response:
        headers = {"Content-Disposition": 'attachment; filename="sysinfo.json"'}
        return JSONResponse(report(service, flags), headers=headers)

    @router.get("/internal/quicksettings-hint")
    def quicksettings_hint() -> list[dict[str, str]]:
        """What each option is called."""
        sections = service.settings.current
        found = []
        for name in type(sections).model_fields:
            fields = type(getattr(sections, name)).model_fields
            found += [{"name": option, "label": field.title or option} for option, field in fields.items()]
        return found

    @router.get("/app_id")
    def app_id() -> dict[str, int]:
        """A number that is another one after each start: gradio's clients load their page anew by it."""
        return {"app_id": number}

    @router.get("/token")
    def token(caller: Caller) -> dict[str, Any]:
        """As gradio 3 answers; the secret of a login is told to no program."""
        return {"token": None, "user": caller.name or None}

    return router


def _untrained(args: Annotated[dict[str, Any], Body()]) -> JSONResponse:
    return answer(501, "NotImplemented", NO_TRAINING)


def memory_of(service: JobService) -> dict[str, Any]:
    """A1111's answer of `/memory`."""
    machine = psutil.virtual_memory()
    used = sum(resident(process) for process in service.processes())
    return {
        "ram": {"free": machine.available, "used": used, "total": machine.total},
        "cuda": service.device_memory() or {"error": "unavailable"},
    }


def resident(pid: int) -> int:
    """Bytes of memory that a process has; 0 for one that has just ended."""
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


def report(service: JobService, flags: Flags) -> dict[str, Any]:
    """A1111's `sysinfo`: what those who help have to know; no passwords, no environment, no prompts."""
    machine = psutil.virtual_memory()
    config = {
        name: value
        for name, value in service.settings.current.flat().items()
        if not any(part in name for part in SECRETS)
    }
    return {
        "Platform": platform.platform(),
        "Python": sys.version.split()[0],
        "Version": _version(),
        "Script path": str(ROOT),
        "Data path": str(service.paths.data),
        "Commandline": {name: value for name, value in flags.values.items() if value not in (None, False, [])},
        "CPU": {
            "model": platform.processor(),
            "count logical": psutil.cpu_count(),
            "count physical": psutil.cpu_count(False),
        },
        "RAM": {"total": machine.total, "used": machine.used, "free": machine.available},
        "CUDA": service.device_memory(),
        "Extensions": [],
        "Config": config,
        "Packages": sorted({f"{found.name}=={found.version}" for found in metadata.distributions() if found.name}),
    }


def _version() -> str:
    for line in Path(ROOT / "pyproject.toml").read_text("utf-8").splitlines():
        if line.startswith("version"):
            return line.partition('"')[2].rstrip('"')
    return "unknown"
