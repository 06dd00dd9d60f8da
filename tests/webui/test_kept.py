"""The page and its files: made once for all, told apart by what they depend on, and nothing of who asks in them."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import brotli
import gradio as gr
import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from modules.api.callers import caller_of
from modules.core.policy import POLICIES
from modules.core.settings import Settings
from modules.core.user import User
from modules.jobs.service import JobService
from webui.blocks import FREE, mount_page
from webui.head import FRONTEND, LOCALIZATION, version
from webui.kept import Kept, Key
from webui.preloads import gradio, own
from webui.stream import ASSETS

LONG = "long " * 1000


@pytest.fixture
def asked() -> list[dict]:
    """What the wrapped application was asked."""
    return []


@pytest.fixture
def client(asked: list[dict]) -> TestClient:
    async def told(request: Request) -> JSONResponse:
        asked.append({"path": request.url.path, "query": request.url.query, "headers": dict(request.headers)})
        return JSONResponse({"text": LONG, "host": request.headers["host"]})

    async def missing(request: Request) -> PlainTextResponse:
        asked.append({"path": request.url.path})
        return PlainTextResponse("none", 404)

    app = Starlette(routes=[Route("/told", told), Route("/anew", told), Route("/missing", missing)])

    def key_of(scope) -> Key | None:
        return None if scope["path"] == "/anew" else Key(name=scope["path"], forever=scope["path"] == "/missing")

    return TestClient(Kept(app, key_of, lambda key, body: body.replace(b"long", b"LONG", 1)))


def test_an_answer_is_made_once_and_knows_nobody(client: TestClient, asked: list[dict]):
    ann = client.get("/told?a=1", headers={"Authorization": "Bearer anns", "Cookie": "a=anns", "X-Other": "anns"})
    bob = client.get("/told", headers={"Authorization": "Bearer bobs"})
    assert ann.content == bob.content and ann.json()["text"].startswith("LONG long ")
    assert asked == [{"path": "/told", "query": "", "headers": {"host": "testserver"}}]
    assert ann.headers["cache-control"] == "private, no-cache" and ann.headers["vary"] == "Accept-Encoding"


def test_whoever_has_it_already_is_told_so(client: TestClient):
    tag = client.get("/told").headers["etag"]
    again = client.get("/told", headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get("/told", headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.head("/told").headers["etag"] == tag


@pytest.mark.parametrize(
    ("accepted", "encoding", "unpack"),
    [
        ("gzip, deflate, br;q=0.5", "br", brotli.decompress),
        ("gzip;q=1.0, br;q=0", "gzip", gzip.decompress),
        ("identity", None, bytes),
    ],
)
def test_it_is_sent_as_the_client_takes_it(client: TestClient, accepted: str, encoding: str | None, unpack):
    for _ in range(2):
        with client.stream("GET", "/told", headers={"Accept-Encoding": accepted}) as answer:
            assert answer.headers.get("content-encoding") == encoding
            assert json.loads(unpack(b"".join(answer.iter_raw())))["text"].startswith("LONG long ")


def test_what_is_no_answer_or_has_no_key_is_not_kept(client: TestClient, asked: list[dict]):
    for path in ("/missing", "/missing", "/anew", "/anew"):
        answer = client.get(path)
        assert "etag" not in answer.headers and "LONG" not in answer.text
    assert [one["path"] for one in asked] == ["/missing"] * 4 + ["/anew"] * 2  # a wrong one is asked for itself, too


@pytest.fixture
def page(service: JobService) -> TestClient:
    async def build() -> FastAPI:
        return mount_page(FastAPI(), service)

    return TestClient(asyncio.run(build()), base_url="http://127.0.0.1:7860")


def test_the_page_is_of_its_host_and_of_nobody(page: TestClient, service: JobService):
    first = page.get("/")
    assert first.status_code == 200 and '"root":"http://127.0.0.1:7860"' in first.text
    assert page.get("/", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    other = page.get("/", headers={"Host": "localhost:7860"})
    assert '"root":"http://localhost:7860"' in other.text and "127.0.0.1" not in other.text
    service.settings.current = Settings().changed({"localization": "zh_CN"})
    assert page.get("/").content == first.content and LOCALIZATION in first.text  # which is what tells, and is not kept
    roles, texts = [], []
    for user in (User(name="ann", admin=True), User(name="bob", admin=False)):
        page.app.dependency_overrides[caller_of] = lambda user=user: user  # type: ignore[attr-defined]
        script = page.get("/atelier/localization.js")
        told = json.loads(script.text.partition("dataset, ")[2].partition(");")[0])
        assert told["fetching"] == "yes"
        roles.append(told["role"])
        texts.append("window.localization = " in script.text)
        assert script.headers["cache-control"] == "private, no-cache"
        assert page.get("/").content == first.content
    assert (roles, texts) == (["admin", "user"], [True, True])
    service.policy = POLICIES["tunnel"]
    assert '"fetching": "no"' in page.get("/atelier/localization.js").text


def test_L13_two_names_of_the_server_at_once_get_pages_of_their_own(service: JobService):
    hosts = [f"{name}:7860" for name in ("127.0.0.1", "localhost")] * 10

    async def asked() -> list[str]:
        transport = httpx.ASGITransport(app=mount_page(FastAPI(), service))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860") as client:
            return [one.text for one in await asyncio.gather(*[client.get("/", headers={"Host": h}) for h in hosts])]

    for host, text in zip(hosts, asyncio.run(asked()), strict=True):
        assert f'"root":"http://{host}"' in text
        assert not any(other in text for other in set(hosts) - {host})


def test_the_page_names_all_that_it_needs(page: TestClient):
    text = page.get("/").text
    assert f'<link rel="modulepreload" fetchpriority="low" crossorigin href="atelier/page/{version()}/page.js">' in text
    named = [part.split('"')[0] for part in text.split('crossorigin href="')[1:]]
    assert len(named) == len(set(named)) > 100
    for name in named:
        answer = page.get(f"/{name.removeprefix('./')}")
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"], name
    plain = page.get("/atelier/page/page.js")
    assert plain.content == page.get(f"/atelier/page/{version()}/page.js").content
    assert "immutable" not in plain.headers.get("cache-control", "")
    for wrong in ("/atelier/page/0123456789ab/page.js", f"/atelier/page/{version()}/none.js", "/assets/none.js"):
        assert page.get(wrong).status_code == 404


def test_gradios_bundles_are_understood():
    kinds = ("slider", "dropdown", "textbox", "tabs", "html", "accordion")
    for kind in kinds:
        assert any(name.startswith("Index-") for name in set(gradio(FRONTEND, [kind])) - set(gradio(FRONTEND, []))), (
            kind
        )
    assert any(name.startswith("Blocks-") for name in gradio(FRONTEND, []))


def test_a_gradio_that_is_built_otherwise_is_no_trouble(tmp_path: Path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "main.js").write_text("import('./other.js')")
    (tmp_path / "index.html").write_text('<script src="./assets/main.js">')
    assert gradio(tmp_path, ["slider"]) == ["main.js"]
    (tmp_path / "index.html").write_text("<p>")
    assert gradio(tmp_path, ["slider"]) == []


def test_every_module_of_the_page_is_named_once():
    found = own(ASSETS)
    others = {"entry.js", "theme.js", "light.js", "translate.js"}  # scripts of the head
    assert sorted(found) == sorted({path.name for path in ASSETS.glob("*.js")} - others)


def test_an_idle_server_does_not_look_a_thousand_times_a_second(page: TestClient):
    async def usual() -> float:
        with gr.Blocks() as blocks:
            return blocks.queue()._queue.sleep_when_free

    mounted: Any = next(route.app for route in page.app.routes if isinstance(route, Mount) and not route.path)  # type: ignore[attr-defined]
    assert mounted.blocks._queue.sleep_when_free == FREE > asyncio.run(usual())
