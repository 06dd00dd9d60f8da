"""Who sees the page, what may be fetched, and the chosen localisation: a script that it begins with, so that nothing is drawn before that is not to be seen."""

import hashlib
import json

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from modules.api.callers import Caller
from modules.jobs.service import JobService
from modules.library.localizations import NONE, Localization, Localizations, preferred
from webui.stream import ASSETS


def build_localization(service: JobService) -> APIRouter:
    """The page's own script: the user's role, whether models may be fetched, and the localisation unless the setting says "None". And that of the pages Login and
    Account, which without a setting speak as the browser asks."""
    router = APIRouter(include_in_schema=False)
    localizations = Localizations(service.paths.localizations)

    @router.get("/atelier/localization.js")
    def localization(caller: Caller, request: Request) -> Response:
        told = {"role": "admin" if caller.admin else "user", "fetching": "yes" if service.policy.downloads else "no"}
        return answer(
            request, f"Object.assign(document.documentElement.dataset, {json.dumps(told)});\n" + script(chosen())
        )

    @router.get("/localization.js")
    def localization_before(request: Request) -> Response:
        found = chosen()
        if found.name == NONE:
            found = localizations.read(preferred(localizations.names(), request.headers.get("accept-language", "")))
        return answer(request, script(found))

    def chosen() -> Localization:
        return localizations.read(service.settings.current.user_interface.localization)

    return router


def script(found: Localization) -> str:
    """What translates a page into it; nothing for "None"."""
    if found.name == NONE:
        return ""
    told = json.dumps({"name": found.name, "rtl": found.rtl, "texts": found.texts})
    return f"window.localization = {told};\n{(ASSETS / 'translate.js').read_text('utf-8')}"


def answer(request: Request, text: str) -> Response:
    """The script, unless the browser has that one already."""
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept-Language, Cookie, Authorization"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(text, media_type="text/javascript", headers=headers)
