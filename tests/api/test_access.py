"""Who may call which route: every route of the program, the page's own ones too, against the table in modules/api/access.py."""

import asyncio
import base64
import contextlib
import hashlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.routing import Mount
from starlette.testclient import TestClient

from modules.api.access import ROUTES, Access, Level, answered, bare, listed
from modules.api.accounts.accounts import Accounts
from modules.api.app import build_api
from modules.api.guard import Door
from modules.core.flags import Flags
from modules.core.network import Network, parse_accounts
from modules.core.policy import HOME, POLICIES
from modules.library.downloads.queue import Downloads
from modules.library.downloads.transport import Transport
from tests.jobs.helpers import make_service, play, puppet_inline
from webui.blocks import mount_page

PUBLIC = {"GET /healthz", "GET /login", "POST /login", "GET /login/{name}", "POST /logout", "GET /localization.js"}
"""What answers without a login; the written list of row N7."""
ANN = {"Authorization": f"Basic {base64.b64encode(b'ann:first secret').decode()}"}
BOB = {"Authorization": f"Basic {base64.b64encode(b'bob:second secret').decode()}"}
RESTRICTED = (Level.ADMIN, Level.API_ADMIN, Level.DOWNLOADS, Level.SCHEMA)


def routes_of(routes, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of all of them, those of what is mounted and included too."""
    for route in routes:
        if isinstance(route, Mount):
            inner = getattr(route.app, "routes", None)
            yield from (
                routes_of(inner, prefix + route.path) if inner else [("GET", f"{prefix}{route.path}/{{path:path}}")]
            )
        elif (router := getattr(route, "original_router", None)) is not None:
            yield from routes_of(router.routes, prefix)
        else:
            for method in getattr(route, "methods", None) or ("WS",):
                yield method, prefix + route.path


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> Iterator[FastAPI]:
    """All that app.py serves, with login."""
    data = tmp_path_factory.mktemp("access")
    service = make_service(data, puppet_inline())
    downloads = Downloads(
        paths=service.paths,
        settings=service.settings,
        hashes=service.checkpoints.hashes,
        environment={},
        transport=Transport(allow_local=False),
    )
    network = Network(listen=True, accounts=tuple(parse_accounts("--auth", "ann:first secret,bob:second secret")))
    accounts = Accounts(service.paths.accounts, network)
    service.policy = network.policy

    async def build() -> FastAPI:  # outside a running loop gradio opens one and never closes it
        door = Door(accounts=accounts, network=network)
        api = build_api(service, Flags(network=network), downloads=downloads, door=door)
        page = mount_page(api, service, downloads)
        page.state.service = service
        return page

    yield asyncio.run(build())
    downloads.close()
    service.close()
    accounts.close()


def test_N7_every_route_has_a_line(app):
    missing = sorted(
        f"{method} {path}"
        for method, path in {*routes_of(app.routes)}
        if method not in ("HEAD", "OPTIONS") and not listed(method, path)
    )
    assert not missing, (
        f"Nobody said who may call {', '.join(missing)}: add a line to ROUTES in modules/api/access.py, "
        'such as ("POST", "/atelier/thing/{thing_id}", USER).'
    )


def test_no_line_is_left_over(app):
    there = {(method, bare(path)) for method, path in routes_of(app.routes)}
    for methods, path, level in ROUTES:
        if level is not Level.NOBODY and path != "/internal/{path:path}":
            for method in methods.split():
                assert (method, bare(path)) in there, f"{method} {path} is listed, and there is no such route"


def concrete(path: str) -> str:
    return bare(path).replace("{:path}", "x").replace("{}", "1")


def test_N7_without_a_login_all_but_the_list_is_401(app):
    client = TestClient(app, base_url="http://127.0.0.1:7860")
    for method, path in sorted({*routes_of(app.routes)}):
        if method in ("HEAD", "OPTIONS", "WS"):
            continue
        closed = Access().level(method, concrete(path)) is Level.NOBODY
        status = client.request(method, concrete(path), follow_redirects=False).status_code
        if f"{method} {path}" in PUBLIC:
            assert status not in (401, 403) or method == "POST", path
        else:
            assert status == (404 if closed else 401), f"{method} {path}"


def test_N7_what_is_for_administrators_is_403_for_others(app):
    client = TestClient(app, base_url="http://127.0.0.1:7860", headers=BOB)
    for method, path in sorted({*routes_of(app.routes)}):
        level = Access().level(method, concrete(path))
        if level in RESTRICTED and method not in ("HEAD", "OPTIONS", "WS"):
            assert client.request(method, concrete(path)).status_code == 403, f"{method} {path}"


def test_E1_what_has_no_line_is_for_administrators(app):
    assert Access().level("POST", "/atelier/new-thing") is Level.ADMIN
    assert Access().level("POST", "/sdapi/v1/new-thing") is Level.API_ADMIN
    assert not listed("POST", "/atelier/new-thing")
    client = TestClient(app, base_url="http://127.0.0.1:7860", headers=BOB)
    assert client.get("/atelier/new-thing").status_code == 403


def test_levels_under_policies():
    def under(level: Level) -> list[str]:
        return [answered(level, POLICIES[name]).name for name in ("home", "lan", "tunnel")]

    assert under(Level.API) == ["USER", "USER", "NOBODY"]
    assert under(Level.API_ADMIN) == ["ADMIN", "ADMIN", "NOBODY"]
    assert under(Level.SCHEMA) == ["USER", "ADMIN", "NOBODY"]
    assert under(Level.DOWNLOADS) == ["ADMIN", "ADMIN", "NOBODY"]
    assert answered(Level.USER, HOME) is Level.USER


def test_exact_lines_come_before_those_that_take_anything():
    access = Access()
    assert access.level("POST", "/atelier/downloads/clear") is Level.ADMIN
    assert access.level("GET", "/gradio_api/proxy=http://127.0.0.1/x") is Level.NOBODY
    assert access.level("GET", "/gradio_api/file=/etc/passwd") is Level.NOBODY
    assert access.level("POST", "/gradio_api/upload") is Level.NOBODY
    assert access.level("POST", "/gradio_api/queue/join") is Level.USER
    assert access.level("HEAD", "/atelier/images/1") is Level.USER


STREAMS = (
    "/atelier/watch/{job_id}",
    "/gradio_api/queue/data",
    "/gradio_api/heartbeat/{session_hash}",
    "/queue/data",
    "/heartbeat/{session_hash}",
)
"""Answers without end."""


def state_of(data: Path) -> dict[str, str]:
    """What a data folder holds, caches, the index of pictures and logs aside: files by their bytes, databases by their rows."""
    found = {}
    for path in sorted(data.rglob("*")):
        name = path.relative_to(data).as_posix()
        if (
            not path.is_file()
            or name.startswith(("cache/", "gallery.sqlite3"))
            or name.endswith(("-wal", "-shm", ".log"))
        ):
            continue
        if path.suffix == ".sqlite3":
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
                found[name] = "\n".join(line for line in db.iterdump() if "INTO" in line and '"seen"' not in line)
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_A20_a_get_changes_nothing(app):
    """Every GET, with ids and names that are there and that are not, by an administrator."""
    service = app.state.service
    client = TestClient(app, base_url="http://127.0.0.1:7860", headers=ANN, raise_server_exceptions=False)
    job = service.submit(play(), "ann")
    paths = {path for method, path in routes_of(app.routes) if method == "GET" and path not in STREAMS}
    assert len(paths) > 60
    client.get("/sdapi/v1/samplers")  # a login is noted
    before, settings = state_of(service.paths.data), service.settings.current
    for path in sorted(paths):
        for value in ("1", job.id, "x"):
            named = re.sub(r"\{[^}]*\}", value, path)
            client.get(named, params={"name": value, "filename": value, "page": "lora", "item": "x"})
    assert state_of(service.paths.data) == before
    assert service.settings.current == settings
