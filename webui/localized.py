"""What the page begins with: its theme, and the chosen localisation, so that nothing is drawn in other colours or in English before."""

import json

from fastapi import APIRouter, FastAPI
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modules.jobs.service import JobService
from modules.library.localizations import NONE, Localizations
from webui.stream import ASSETS

HEAD = b"<head>"
SCRIPT = b'<script src="atelier/page/theme.js"></script><script src="atelier/localization.js"></script>'


def build_localization(service: JobService) -> APIRouter:
    """The route of that script. It is empty while the setting `localization` says "None"."""
    router = APIRouter(include_in_schema=False)
    localizations = Localizations(service.paths.localizations)

    @router.get("/atelier/localization.js")
    def localization() -> Response:
        found = localizations.read(service.settings.current.user_interface.localization)
        text = ""
        if found.name != NONE:
            told = json.dumps({"name": found.name, "rtl": found.rtl, "texts": found.texts})
            text = f"window.localization = {told};\n{(ASSETS / 'translate.js').read_text('utf-8')}"
        return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    return router


def localize(app: FastAPI) -> None:
    """Let the page that was mounted last on `app` begin with those scripts."""
    mount = app.router.routes[-1]
    assert isinstance(mount, Mount)
    mount.app = _Localized(mount.app)


class _Localized:
    """Writes the scripts' tags into the HTML that `app` sends. What is no HTML passes as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.routes = getattr(app, "routes", [])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: list[Message] = []
        body = bytearray()

        async def insert(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_page(message):
                start.append(message)
            elif start and message["type"] == "http.response.body":
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    whole = bytes(body).replace(HEAD, HEAD + SCRIPT, 1)
                    first = start.pop()
                    MutableHeaders(raw=first["headers"])["content-length"] = str(len(whole))
                    await send(first)
                    await send({**message, "body": whole})
            else:
                await send(message)

        await self._app(scope, receive, insert if scope["type"] == "http" and scope["method"] == "GET" else send)


def _is_page(message: Message) -> bool:
    headers = MutableHeaders(raw=message["headers"])
    return headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers
