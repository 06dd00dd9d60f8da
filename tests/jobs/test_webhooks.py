"""Calls to a local server: what it is told, signed with what, how often; and who is never called."""

import contextlib
import json
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modules.core.errors import InputError, RemoteError
from modules.core.user import User
from modules.jobs.webhooks import Webhooks, signed
from modules.library.downloads.transport import Transport
from tests.jobs.helpers import make_service, play, puppet_inline

DOCS = Path(__file__).parents[2] / "docs" / "sharing.md"
ANN = User(name="ann")


class Listener:
    """Remembers what it is sent; `statuses`: what it answers, the last one again and again."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses = [200]
        self.slow = threading.Event()
        self.slow.set()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                listener.slow.wait(20)
                status = listener.statuses.pop(0) if len(listener.statuses) > 1 else listener.statuses[0]
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    if status == 302:
                        self.send_header("Location", f"{listener.url}/elsewhere")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def wait(self, count: int) -> list[tuple[dict[str, str], bytes]]:
        end = time.monotonic() + 30
        while len(self.got) < count and time.monotonic() < end:
            time.sleep(0.02)
        assert len(self.got) >= count, len(self.got)
        return self.got


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield found
    found.slow.set()
    found.server.shutdown()
    found.server.server_close()
    thread.join()


@contextlib.contextmanager
def running(data: Path, **options: Any):
    service = make_service(data, puppet_inline(), **options)
    service.webhooks = Webhooks(service.store, allow_local=True, waits=(0.05,) * 7)
    service.start()
    try:
        yield service
    finally:
        service.close()


def genuine(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """As docs/sharing.md says it."""
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)[0], names)
    return names["genuine"](headers, body, secret)


def settled(service) -> None:
    end = time.monotonic() + 20
    while service.store.calls.waiting(None) and time.monotonic() < end:
        time.sleep(0.02)
    assert not service.store.calls.waiting(None)


def test_every_event_is_told_and_signed(tmp_path, listener):
    with running(tmp_path, webhook_url=f"{listener.url}/hook") as service:
        secret = service.store.calls.renew_secret("")
        done = service.submit(play(), "ann")
        service.wait(done.id, 30)
        listener.wait(2)
        failed = service.submit(play(fail="no"))
        service.wait(failed.id, 30)
        listener.wait(4)
        service.queue.pause("bob", True)
        taken_out = service.submit(play(), "bob")
        service.ask("interrupt", taken_out.id)
        got = listener.wait(5)
        settled(service)
    told = [json.loads(body) for _, body in got]
    assert [(entry["type"], entry["data"]["id"]) for entry in told] == [
        ("job.begun", done.id),
        ("job.done", done.id),
        ("job.begun", failed.id),
        ("job.failed", failed.id),
        ("job.cancelled", taken_out.id),
    ]
    (image,) = told[1]["data"]["images"]
    assert image["url"] == f"/atelier/images/{image['id']}" and told[1]["data"]["user"] == "ann"
    assert all(genuine(headers, body, secret) for headers, body in got)
    headers, body = got[0]
    assert not genuine(headers, body + b" ", secret)
    assert not genuine(headers, body, "whsec_" + "A" * 32)
    assert not genuine({**headers, "webhook-timestamp": "1"}, body, secret)
    assert len({headers["webhook-id"] for headers, _ in got}) == 5


def test_a_callback_of_a_request_brings_the_pictures(tmp_path, listener):
    with running(tmp_path) as service:
        secret = service.store.calls.renew_secret("ann")
        job = service.desk(ANN).submit(play(n_iter=2), callback_url=f"{listener.url}/me?token=x")
        service.wait(job.id, 30)
        ((headers, body),) = listener.wait(1)
        settled(service)
        assert genuine(headers, body, secret) and not genuine(headers, body, service.store.calls.secret(""))
        edge = headers["content-type"].partition("boundary=")[2].encode()
        parts = body.split(b"--" + edge)
        assert [part.count(b'name="task_id"\r\n\r\n' + job.id.encode()) for part in parts][1] == 1
        assert b'name="status"\r\n\r\ndone' in parts[2]
        assert body.count(b'name="files"; filename="') == 2 and body.count(b"\x89PNG") == 2
        again = service.desk(ANN).again(job.id)
        service.wait(again.id, 30)
        assert again.id.encode() in listener.wait(2)[1][1]


@pytest.mark.parametrize("statuses", [[500, 404, 302, 200], [503, 410]])
def test_what_fails_is_tried_again_until_it_is_gone(tmp_path, listener, statuses):
    listener.statuses = [*statuses]
    with running(tmp_path) as service:
        job = service.desk(ANN).submit(play(), callback_url=listener.url)
        service.wait(job.id, 30)
        got = listener.wait(len(statuses))
        settled(service)
        time.sleep(0.3)
        assert len(listener.got) == len(statuses) and len({headers["webhook-id"] for headers, _ in got}) == 1


def test_it_is_given_up_in_the_end(tmp_path, listener):
    listener.statuses = [500]
    with running(tmp_path) as service:
        service.wait(service.desk(ANN).submit(play(), callback_url=listener.url).id, 30)
        listener.wait(8)
        settled(service)
        assert len(listener.got) == 8


def test_a_restart_goes_on(tmp_path, listener):
    listener.statuses = [500]
    with running(tmp_path) as service:
        service.webhooks._waits = (3600.0,) * 7
        job = service.desk(ANN).submit(play(), callback_url=listener.url)
        service.wait(job.id, 30)
        listener.wait(1)
        end = time.monotonic() + 10
        while not (call := service.store.calls.waiting("ann")[0]).tries and time.monotonic() < end:
            time.sleep(0.02)
        assert (call.tries, call.trouble) == (1, "It answered 500.") and call.due > time.time() + 3000
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as db:
        db.execute("UPDATE calls SET due=0")
        db.commit()
    listener.statuses = [200]
    with running(tmp_path) as service:
        (first, _), (second, _) = listener.wait(2)
        settled(service)
    assert first["webhook-id"] == second["webhook-id"]


def test_private_addresses_are_not_called(tmp_path, listener):
    service = make_service(tmp_path, puppet_inline(), webhook_url=listener.url)
    service.start()
    try:
        for url in (
            listener.url,
            "http://169.254.169.254/",
            "http://[::ffff:10.0.0.1]/",
            "ftp://a.org/",
            "http://u@a.org/",
        ):
            with pytest.raises(InputError, match=r"^callback_url.*\.$"):
                service.desk(ANN).submit(play(), callback_url=url)
        job = service.submit(play())
        service.wait(job.id, 30)
        settled(service)  # given up at once
        assert not listener.got
    finally:
        service.close()


def test_slow_listeners_are_cut_off(listener):
    listener.slow.clear()
    start = time.monotonic()
    with pytest.raises(RemoteError):
        Transport(allow_local=True, proxies={}).post(listener.url, b"x", headers={}, seconds=0.5)
    assert time.monotonic() - start < 5


def test_nobody_is_told_for_an_account_that_is_gone(tmp_path, listener):
    with running(tmp_path) as service:
        service.queue.pause("ann", True)
        service.desk(ANN).submit(play(), callback_url=listener.url)
        secret = service.store.calls.secret("ann")
        service.store.disown("Ann")
        assert service.store.calls.secret("ann") != secret
        assert service.store._db.read("SELECT count(*) AS n FROM hooks")[0]["n"] == 0


def test_the_signature_of_the_standard():
    """The example of the specification's own libraries."""
    found = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        b'{"test": 2432232314}',
        now=1614265330,
    )
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
