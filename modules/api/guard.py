"""The outermost middleware: which hosts and origins are answered, how large a body may be, which headers every answer has.

It sees everything that app.py serves: this API, the page mounted beside it, their sockets and streams.
"""

import asyncio
import ipaddress
from collections.abc import Collection

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modules.api.errors import answer
from modules.core.errors import short

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
MAX_BODY = 16 * 2**20
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "SAMEORIGIN",
}


class Guard:
    """Wraps an ASGI application. `hosts` are the names this server answers to, with any port."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] = LOOPBACK) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if scope["type"] == "websocket":
            if refusal:
                await send({"type": "websocket.close", "code": 1008, "reason": refusal[2][:120]})
            else:
                await self._app(scope, receive, send)
            return

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                found = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    found.setdefault(name, value)
            await send(message)

        if refusal:
            await answer(*refusal)(scope, receive, send_with_headers)
        else:
            try:
                await self._app(scope, _capped(receive), send_with_headers)
            except asyncio.CancelledError:  # the server is being stopped and waits for nobody any more
                if started:
                    await send({"type": "http.response.body"})
                else:
                    await answer(503, "Stopping", STOPPING)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str, str] | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or host_name(hosts[0]) not in self._hosts:
            said = short(", ".join(hosts))
            return 403, "Forbidden", f"This server does not answer to the name {said}. Open it as http://127.0.0.1."
        if _foreign(scope, headers, hosts[0]):
            return (
                403,
                "Forbidden",
                "Another web site asked for this, and is refused. Use the page of this server itself.",
            )
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            return 400, "BadRequest", f"Content-Length is {short(length)}: it must be a whole number."
        if len(length) > 15 or int(length) > MAX_BODY:
            return 413, "TooLarge", TOO_LARGE
        return None


STOPPING = "The server is being stopped. Jobs that it took go on when it is started again."
TOO_LARGE = f"The body is too large: at most {MAX_BODY // 2**20} MB are accepted."


def host_name(host: str) -> str:
    """The name in a Host header, in lower case and without its port; "" if it is no plain host."""
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name = host
    elif ":" in name and not name.startswith("[") or not (port.isascii() and port.isdigit()):
        return ""
    name = name.lower()
    if name.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(name[1:-1])}]" if name.endswith("]") else ""
        except ValueError:
            return ""
    return name


def _foreign(scope: Scope, headers: Headers, host: str) -> bool:
    """Whether a browser sends this on behalf of another site. Following a link to here is fine."""
    origins = headers.getlist("origin")
    if origins and (len(origins) > 1 or origins[0].partition("://")[2].lower() != host.lower()):
        return True
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    plain = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return not (plain and scope.get("method") in ("GET", "HEAD"))


def _capped(receive: Receive) -> Receive:
    """`receive` that refuses a body which turns out too large, whatever its length was said to be."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY:
            raise HTTPException(413, TOO_LARGE)
        return message

    return limited
