"""Who is answered: by Host, by Origin, by size."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from modules.api.guard import Guard
from modules.api.hosts import host_name
from modules.core.policy import HOME

OWN = {"Host": "127.0.0.1:7860"}
MAX_BODY = HOME.body


async def echo(request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def socket(websocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


@pytest.fixture
def guarded() -> TestClient:
    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"]), WebSocketRoute("/ws", socket)])
    return TestClient(Guard(app), base_url="http://127.0.0.1:7860")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:7860", "[::1]", "[::1]:7860", "[0:0::1]"]
)
def test_own_names(guarded, host):
    assert guarded.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.com",
        "127.0.0.1.nip.io",
        "localhost.evil.com",
        "0.0.0.0",
        "127.0.0.1:7860@evil.com",
        "127.0.0.1:",
        "127.0.0.1:x",
        "a\\b",
        "",
        "localhost/x?",
        "localhost, evil.com",
        "192.168.1.5:7860",
        "[::1",
        "[]",
        "[::ffff:127.0.0.1]",
    ],
)
def test_other_names(guarded, host):
    answer = guarded.get("/", headers={"Host": host})
    assert answer.status_code == 403
    assert "does not answer" in answer.json()["detail"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def raw(app, headers: list[tuple[bytes, bytes]], messages: list[dict], method: str = "POST") -> int:
    """The status of a request that an ordinary client cannot send."""
    sent: list[MutableMapping[str, Any]] = []
    scope = {"type": "http", "method": method, "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers}
    pending = iter(messages)

    async def receive() -> dict:
        return next(pending)

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"]


def test_two_hosts_or_none(guarded):
    empty = [{"type": "http.request", "body": b""}]
    host = (b"host", b"localhost")
    assert raw(guarded.app, [host], empty) == 200
    assert raw(guarded.app, [], empty) == 403
    assert raw(guarded.app, [host, host], empty) == 403


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:7860"}, True),
        ({"Origin": "http://127.0.0.1:7860", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "http://127.0.0.1:7861"}, False),
        ({"Origin": "http://localhost:7860"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, False),
    ],
)
def test_origins(guarded, headers, allowed):
    for method in ("GET", "POST"):
        assert guarded.request(method, "/", headers=headers).status_code == (200 if allowed else 403)


def test_following_a_link_to_here_is_fine(guarded):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert guarded.get("/", headers=link).status_code == 200
    assert guarded.post("/", headers=link).status_code == 403
    assert guarded.get("/", headers={**link, "Origin": "https://evil.example"}).status_code == 403


def test_sockets(guarded):
    with guarded.websocket_connect("/ws", headers={**OWN, "Origin": "http://127.0.0.1:7860"}) as open_socket:
        assert open_socket.receive_text() == "hello"
    for headers in ({**OWN, "Origin": "https://evil.example"}, {"Host": "evil.com"}):
        with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/ws", headers=headers):
            pass


def test_body_size_as_announced(guarded):
    assert guarded.post("/", content=b"x" * MAX_BODY).text == str(MAX_BODY)
    answer = guarded.post("/", content=b"x" * (MAX_BODY + 1))
    assert answer.status_code == 413
    assert "64 MB" in answer.json()["detail"]


@pytest.mark.parametrize("length", [b"9" * 30, b"99999999999"])
def test_announced_length_alone_is_enough(guarded, length):
    assert raw(guarded.app, [(b"host", b"localhost"), (b"content-length", length)], []) == 413


@pytest.mark.parametrize("length", [b"-1", b"x", b"\xb2", b""])
def test_length_that_is_no_number(guarded, length):
    assert raw(guarded.app, [(b"host", b"localhost"), (b"content-length", length)], []) == 400


def test_body_without_announcement_is_cut_at_the_limit(client):
    taken = 0

    def chunks():
        nonlocal taken
        for _ in range(200):
            taken += 2**20
            yield b" " * 2**20

    answer = client.post("/sdapi/v1/txt2img", content=chunks(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert json.loads(answer.text)["error"] == "HTTPException"


def test_headers_on_every_answer(client):
    for path in ("/internal/ping", "/nope", "/sdapi/v1/options"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


def test_host_names():
    assert [host_name(h) for h in ("A:1", "a", "[::1]:2", "a:b", "::1", "")] == ["a", "a", "[::1]", "", "", ""]


@pytest.mark.parametrize("begun", [False, True])
def test_requests_that_wait_when_the_server_stops_are_answered(begun):
    sent: list[MutableMapping[str, Any]] = []

    async def waiting(scope, receive, send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def stop_in_the_middle() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")]}
        task = asyncio.create_task(Guard(waiting)(scope, no_message, send))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    asyncio.run(stop_in_the_middle())
    assert sent[0]["status"] == (200 if begun else 503)
    assert not sent[-1].get("more_body", False)
    assert begun or "go on" in json.loads(sent[-1]["body"])["detail"]


async def no_message() -> dict:
    return {"type": "http.disconnect"}
