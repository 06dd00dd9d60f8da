"""The outermost middleware: which hosts and origins are answered, who may call what, how large a body may be, and the headers
that every answer has.

It sees everything that app.py serves: this API, the page mounted beside it, their sockets and streams.
"""

import asyncio
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.routing import get_route_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modules.api.access import Access, Level, answered
from modules.api.accounts.accounts import Accounts, Caller
from modules.api.callers import ADDRESS, CALLER, NOBODY
from modules.api.errors import answer, answer_to
from modules.api.hosts import LOOPBACK, Hosts, Origins, address_of, foreign, host_name
from modules.core.errors import AtelierError, Forbidden, LoginNeeded, NotFound, short
from modules.core.network import Network
from modules.core.policy import MB
from modules.core.user import OWNER

CONTENT = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""Nothing comes from other machines; gradio's page itself has scripts inside and makes functions from text."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "SAMEORIGIN",
    "Content-Security-Policy": CONTENT,
}
CORS = "access-control-"
BODY_SECONDS, PAUSE_SECONDS = 300.0, 30.0  # for all of a body, and for the next piece of it
CHECK_SECONDS = 15.0  # between two looks whether a long answer's caller is still logged in
STOPPING = "The server is being stopped. Jobs that it took go on when it is started again."


@dataclass(frozen=True, kw_only=True)
class Door:
    """What the guard goes by."""

    accounts: Accounts | None = None
    network: Network = field(default_factory=Network)
    hosts: Hosts = field(default_factory=Hosts)
    port: int = 7860

    @property
    def secure(self) -> bool:
        """Whether browsers reach the server by https alone."""
        return self.network.exposure == "tunnel" or self.network.scheme == "https"

    @property
    def cookie(self) -> str:
        """The name of the session's cookie: servers on one host share cookies whatever their ports."""
        return "__Host-atelier" if self.secure else f"atelier-{self.port}"


class _LoggedOut(Exception):
    """The caller of a long answer is not logged in any more."""


class Guard:
    """Wraps an ASGI application."""

    def __init__(self, app: ASGIApp, door: Door = Door()) -> None:
        self._app = app
        self._door = door
        self._access = Access()
        self._origins = Origins(door.network)
        self._policy = door.network.policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if self._door.network.subpath:
            scope["root_path"] = self._door.network.subpath
        headers = Headers(scope=scope)
        try:
            self._check_sender(scope, headers)
            scope[ADDRESS] = address_of(scope, headers, self._door.network.trusted_proxies)
            self._drop_forwarding(scope, headers)
            if scope["type"] == "http" and _is_preflight(scope, headers):
                refusal: Response | None = self._preflight(headers)
            else:
                self._check_length(headers)
                scope[CALLER] = await self._admitted(scope, headers)
                refusal = None
        except AtelierError as error:
            refusal = self._refusal(scope, headers, error)
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send, refusal)
        else:
            await self._answer(scope, receive, send, headers, refusal)

    # -- who may come in --

    def _check_sender(self, scope: Scope, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in self._door.hosts:
            said = short(", ".join(hosts))
            raise Forbidden(
                f"This server does not answer to the name {said}. Open it as http://127.0.0.1, or start it with --allowed-hosts."
            )
        allowed = len(headers.getlist("origin")) == 1 and headers["origin"] in self._origins
        if not allowed and foreign(scope, headers, hosts[0]):
            raise Forbidden("Another web site asked for this, and is refused. Use the page of this server itself.")

    def _drop_forwarding(self, scope: Scope, headers: Headers) -> None:
        """What proxies say counts here alone: from those that are trusted, and of the tunnel that it is https."""
        network = self._door.network
        if (scope.get("client") or ("",))[0] in network.trusted_proxies:
            said = (headers.getlist("x-forwarded-proto") or [""])[-1].rpartition(",")[2].strip()
            scope["scheme"] = said if said in ("http", "https") else scope["scheme"]
        elif network.exposure == "tunnel" and host_name(headers["host"]) not in LOOPBACK:
            scope["scheme"] = "https"
        scope["headers"] = [
            (name, value)
            for name, value in scope["headers"]
            if not name.lower().startswith(b"x-forwarded-") and name.lower() != b"forwarded"
        ]

    def _check_length(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            raise HTTPError(400, "BadRequest", f"Content-Length is {short(length)}: it must be a whole number.")
        if len(length) > 15 or int(length) > self._policy.body:
            raise HTTPError(413, "TooLarge", too_large(self._policy.body))

    async def _admitted(self, scope: Scope, headers: Headers) -> Caller | None:
        """Who asks, once it is found that they may; raises LoginNeeded, Forbidden, NotFound."""
        path, method = get_route_path(scope), scope.get("method", "WS")
        level = answered(self._access.level(method, path), self._policy)
        if level is Level.NOBODY:
            raise NotFound(f"There is nothing at {short(path)}.")
        caller = await self._caller(scope, headers, level)
        if level is Level.PUBLIC:
            return caller
        if caller is None:
            raise LoginNeeded(NOBODY)
        if level is Level.ADMIN and not caller.user.admin:
            raise Forbidden("That is for administrators. Ask one, or log in as one.")
        return caller

    async def _caller(self, scope: Scope, headers: Headers, level: Level) -> Caller | None:
        accounts = self._door.accounts
        if accounts is None or not self._policy.login:
            return Caller(user=OWNER)
        secret = HTTPConnection(scope).cookies.get(self._door.cookie)
        if secret and (caller := accounts.by_session(secret)):
            return caller
        if level is not Level.PUBLIC and (said := headers.get("authorization")):
            if said[:7].lower() == "bearer ":  # a look at a table; passwords take their time
                return accounts.by_header(said, scope[ADDRESS])
            return await accounts.apart(accounts.by_header, said, scope[ADDRESS])
        return None

    def _refusal(self, scope: Scope, headers: Headers, error: AtelierError) -> Response:
        if isinstance(error, HTTPError):
            return answer(error.status, error.kind, error.message)
        asks_page = scope.get("method") == "GET" and "text/html" in headers.get("accept", "")
        if isinstance(error, LoginNeeded) and asks_page:
            path = get_route_path(scope)
            query = f"?{scope['query_string'].decode('latin-1')}" if scope.get("query_string") else ""
            back = "" if path == "/" else f"?next={quote(path + query, safe='')}"
            return RedirectResponse(f"{scope.get('root_path', '')}/login{back}", 303, {"Cache-Control": "no-store"})
        response = answer_to(error)
        if isinstance(error, LoginNeeded) and "sec-fetch-mode" not in headers:  # a browser would open a dialog
            response.headers["WWW-Authenticate"] = 'Basic realm="Atelier", charset="UTF-8"'
        return response

    def _preflight(self, headers: Headers) -> Response:
        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
                "Access-Control-Allow-Headers": headers.get("access-control-request-headers", "content-type"),
                "Access-Control-Max-Age": "600",
            },
        )

    # -- the answer --

    async def _socket(self, scope: Scope, receive: Receive, send: Send, refusal: Response | None) -> None:
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": "refused"})

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, refusal: Response | None
    ) -> None:
        started = False
        checked = time.monotonic()
        caller: Caller | None = scope.get(CALLER)
        origin = headers.get("origin", "")

        async def guarded_send(message: Message) -> None:
            nonlocal started, checked
            if message["type"] == "http.response.start":
                started = True
                self._set_headers(message, origin)
            elif caller and time.monotonic() - checked > CHECK_SECONDS:
                checked = time.monotonic()
                if not caller.alive():
                    raise _LoggedOut
            await send(message)

        if refusal is not None:
            await refusal(scope, receive, guarded_send)
            return
        try:
            await self._app(scope, _capped(receive, self._policy.body), guarded_send)
        except _LoggedOut:
            await send({"type": "http.response.body", "body": b""})
        except asyncio.CancelledError:  # the server is being stopped and waits for nobody any more
            if started:
                await send({"type": "http.response.body"})
            else:
                await answer(503, "Stopping", STOPPING)(scope, receive, guarded_send)

    def _set_headers(self, message: MutableMapping[str, Any], origin: str) -> None:
        """Ours; and of those about other sites ours alone, whatever the application says."""
        preflight = message["status"] == 204
        message["headers"] = [
            (name, value)
            for name, value in message["headers"]
            if not name.lower().startswith(CORS.encode()) or (preflight and origin in self._origins)
        ]
        found = MutableHeaders(scope=message)
        for name, value in HEADERS.items():
            found.setdefault(name, value)
        if origin and origin in self._origins:
            found["Access-Control-Allow-Origin"] = origin
            found["Access-Control-Allow-Credentials"] = "true"
            found.add_vary_header("Origin")
        if self._door.network.exposure == "tunnel":
            found.setdefault("Strict-Transport-Security", "max-age=86400")


class HTTPError(AtelierError):
    """A request that is refused before anyone looks at what it wants."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


def too_large(most: int) -> str:
    """What is said about a body of more bytes."""
    return f"The body is too large: at most {most // MB} MB are accepted."


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    return scope.get("method") == "OPTIONS" and "access-control-request-method" in headers and "origin" in headers


def _capped(receive: Receive, most: int) -> Receive:
    """`receive` that refuses a body which turns out too large, whatever its length was said to be, or takes too long."""
    seen, over, begun = 0, False, time.monotonic()

    async def limited() -> Message:
        nonlocal seen, over
        if over:
            return await receive()
        left = min(PAUSE_SECONDS, begun + BODY_SECONDS - time.monotonic())
        try:
            message = await asyncio.wait_for(receive(), max(left, 0.0))
        except (TimeoutError, asyncio.TimeoutError):  # noqa: UP041  # two classes before Python 3.11
            raise HTTPException(408, "The body did not come in time. Send it again.") from None
        seen += len(message.get("body", b""))
        over = not message.get("more_body", False)
        if seen > most:
            raise HTTPException(413, too_large(most))
        return message

    return limited
