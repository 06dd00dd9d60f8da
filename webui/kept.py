"""Answers that are the same for whoever may ask: made once, kept with their compressed forms, and named by an ETag."""

import asyncio
import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import brotli
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST = 64_000_000  # bytes of all that is kept, compressed forms aside
SMALL = 500  # bytes that are not worth compressing
FOREVER, ASK = "private, max-age=31536000, immutable", "private, no-cache"
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "br": lambda data: brotli.compress(data, quality=6),
    "gzip": lambda data: gzip.compress(data, 6, mtime=0),
}


@dataclass(frozen=True, kw_only=True)
class Key:
    """What an answer is kept under. `forever`: its address changes when the answer does, so that a browser need not ask again."""

    name: Hashable
    forever: bool = False


@dataclass(frozen=True, kw_only=True)
class _Answer:
    kind: str
    body: bytes
    tag: str
    encoded: dict[str, bytes] = field(default_factory=dict)


class Kept:
    """Wraps an application. `key_of`: what the answer to a path is kept under; None for one that is made each time. `finish`: what is sent for
    a body that the application gave.

    What is kept is asked for with the request's path and host alone: nothing of who asks can get into it.
    """

    def __init__(
        self,
        app: ASGIApp,
        key_of: Callable[[Scope], Key | None],
        finish: Callable[[Key, bytes], bytes] = lambda key, body: body,
    ) -> None:
        self._app = app
        self._key_of = key_of
        self._finish = finish
        self._kept: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        key = self._key_of(scope) if asked else None
        answer = await self._answer(key, scope) if key else None
        if key is None or answer is None:
            await self._app(scope, receive, send)
        else:
            await (await _response(answer, key, Headers(scope=scope)))(scope, receive, send)

    async def _answer(self, key: Key, scope: Scope) -> _Answer | None:
        """The kept one; None for what the application does not answer with 200."""
        if found := self._kept.get(key.name):
            return found
        async with self._lock:  # the first of many who come together makes it
            if found := self._kept.get(key.name):
                return found
            status, headers, body = await _asked(self._app, scope)
            if status != 200:
                return None
            body = self._finish(key, body)
            tag = hashlib.sha256(body).hexdigest()[:20]
            answer = _Answer(kind=headers.get("content-type", ""), body=body, tag=tag)
            self._kept[key.name] = answer
            while len(self._kept) > 1 and sum(len(one.body) for one in self._kept.values()) > MOST:
                self._kept.popitem(last=False)
            return answer


async def _asked(app: ASGIApp, scope: Scope) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the answer to that scope's path, whoever asks."""
    bare = {name: scope[name] for name in scope if not name.startswith("atelier.")}
    host = [(name, value) for name, value in scope["headers"] if name.lower() == b"host"]
    bare.update(method="GET", headers=host, query_string=b"", extensions={})
    status, headers, parts = 0, Headers(), []
    begun = asyncio.Event()

    async def receive() -> Message:
        if not begun.is_set():
            begun.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()  # nobody goes away
        raise AssertionError

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], Headers(raw=message["headers"])
        else:
            parts.append(message.get("body", b""))

    await app(bare, receive, send)
    return status, headers, b"".join(parts)


async def _response(answer: _Answer, key: Key, asked: Headers) -> Response:
    headers = {"Cache-Control": FOREVER if key.forever else ASK}
    encoding = _encoding(answer, asked.get("accept-encoding", ""))
    headers |= {"ETag": f'"{answer.tag}{encoding}"', "Vary": "Accept-Encoding"}
    if any(answer.tag in tag for tag in asked.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    body = answer.body
    if encoding:
        headers["Content-Encoding"] = encoding
        if encoding not in answer.encoded:
            answer.encoded[encoding] = await run_in_threadpool(ENCODERS[encoding], body)
        body = answer.encoded[encoding]
    return Response(body, media_type=answer.kind or None, headers=headers)


def _encoding(answer: _Answer, accepted: str) -> str:
    """The first of ours that the client takes; "" for none, and for what is no text."""
    if len(answer.body) < SMALL or not any(part in answer.kind for part in ("text/", "javascript", "json", "svg")):
        return ""
    takes = [part.replace(" ", "").partition(";q=") for part in accepted.lower().split(",")]
    names = {name for name, _, share in takes if share not in ("0", "0.0", "0.00", "0.000")}
    return next((name for name in ENCODERS if name in names), "")
