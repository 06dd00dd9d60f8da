"""Connections that never ask, or trickle: they end; others are answered meanwhile."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn

from modules.api import patience
from tests.server import free_port, until

LARGE = 20 * 2**20  # more than the system takes for a client that reads nothing


async def app(scope, receive, send) -> None:
    """Answers once the body is there, after a second for /slow; with a large one for /large, in one piece for /piece."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"] in ("/large", "/piece"):
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(LARGE).encode())]}
        )
        count = 320 if scope["path"] == "/large" else 1
        for left in reversed(range(count)):
            await send({"type": "http.response.body", "body": bytes(LARGE // count), "more_body": left > 0})
        return
    await asyncio.sleep(1.0 if scope["path"] == "/slow" else 0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def server(monkeypatch) -> Iterator[uvicorn.Server]:
    """A server whose patience is half a second."""
    monkeypatch.setattr(patience, "HEAD", 0.5)
    config = uvicorn.Config(app, port=free_port(), log_level="error", http=patience.PatientProtocol, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, 20)
    yield server
    server.should_exit = True
    thread.join()


@pytest.fixture
def port(server: uvicorn.Server) -> int:
    return server.config.port


def ended(connection: socket.socket, trickle: bytes = b"") -> bool:
    """Whether the server lets go of it within 20 seconds, while a byte after the other is sent."""
    connection.settimeout(0.1)
    for at in range(200):
        with contextlib.suppress(TimeoutError):
            try:
                if trickle:
                    connection.sendall(trickle[at % len(trickle) :][:1])
                if connection.recv(1000) == b"":
                    return True
            except (ConnectionResetError, BrokenPipeError):
                return True
    return False


def test_N20_a_connection_that_never_asks_ends(port):
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).text == "ok"
    for one in silent:
        with one:
            assert ended(one)


def test_N20_a_head_that_trickles_ends(port):
    with socket.create_connection(("127.0.0.1", port)) as first:
        first.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        assert ended(first, b"a")
    with socket.create_connection(("127.0.0.1", port)) as again:  # behind a good request too
        again.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.2)
        again.recv(1000)
        assert ended(again, b"GET /")


def test_N20_what_is_asked_whole_is_answered_however_long_it_takes(port):
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
        assert [client.get("/slow").text for _ in range(2)] == ["ok", "ok"]

    def body():
        for _ in range(8):
            time.sleep(0.1)
            yield b"x"

    assert httpx.post(f"http://127.0.0.1:{port}/", content=body(), trust_env=False).text == "ok"


@pytest.mark.parametrize("path", ["/large", "/piece"])
def test_L11_who_takes_next_to_nothing_of_an_answer_is_let_go_of(server, port, monkeypatch, path):
    monkeypatch.setattr(patience, "SLOW", 1.0)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(reader(port, path)) for _ in range(10)]
        assert [httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).text for _ in range(5)] == ["ok"] * 5
        assert all(len(each.recv(100)) for each in slow)
        until(lambda: len(server.server_state.connections) == 10, 20)
        until(lambda: all(each.recv(100) for each in slow) and not server.server_state.connections, 60)


@pytest.mark.parametrize("path", ["/large", "/piece"])
def test_L11_who_reads_on_gets_all_of_it_however_long_it_takes(port, monkeypatch, path):
    """Longer than a head may take, too: that is not owed before the answer is there."""
    monkeypatch.setattr(patience, "SLOW", 1.0)
    got = 0
    with reader(port, path) as slow:
        while got < LARGE and (piece := slow.recv(2**20)):
            got += len(piece)
            time.sleep(0.05)
    assert got >= LARGE


def reader(port: int, path: str) -> socket.socket:
    """A connection that has asked for it."""
    found = socket.create_connection(("127.0.0.1", port), 20)
    found.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return found
