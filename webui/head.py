"""What the page begins with: its theme and who sees it, so that nothing is drawn otherwise before, and all that it is going to need.
The page is made once for all, and kept."""

import hashlib
import json
import os
from collections.abc import Collection
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.routing import get_route_path
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from webui.kept import Kept, Key
from webui.preloads import gradio, own
from webui.stream import ASSETS

FRONTEND = Path(gr.__file__).parent / "templates" / "frontend"
HEAD = b"<head>"
PAGE = "atelier/page"
FIRST = ("entry", "theme", "light")  # scripts that run before anything else
LOCALIZATION = '<script src="atelier/localization.js"></script>'  # each user's own: it is not kept
SINGLE = ("/theme.css", "/gradio_api/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt")


def version() -> str:
    """Changes when any of the page's own files does."""
    found = hashlib.sha256()
    for path in sorted(path for path in ASSETS.iterdir() if path.is_file()):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:12]


def mount_assets(app: FastAPI) -> str:
    """Serve the page's own files, below a folder that is called as their version too; that one's address."""
    files = _Assets(version())
    app.mount(f"/{PAGE}", files)
    return f"{PAGE}/{files.version}"


class _Assets(StaticFiles):
    def __init__(self, version: str) -> None:
        super().__init__(directory=ASSETS)
        self.version = version

    def get_path(self, scope: Scope) -> str:
        return super().get_path(scope).removeprefix(f"{self.version}{os.sep}")


def keep_page(app: FastAPI, assets: str, kinds: Collection[str]) -> None:
    """Let the page of `app`, of components of those kinds, begin with all that, and keep it and its files. `assets`: where its own are.

    What is kept is answered before any route is looked at, and behind the guard, which is the outermost.
    """
    first = HEAD + head(assets, kinds).encode()

    def key_of(scope: Scope) -> Key | None:
        path = get_route_path(scope)
        if path == "/":
            return Key(name=(scope["scheme"], Headers(scope=scope).get("host", ""), scope.get("root_path", "")))
        forever = path.startswith((f"/{assets}/", "/assets/"))
        return Key(name=path, forever=forever) if forever or path.startswith("/static/") or path in SINGLE else None

    def finish(key: Key, body: bytes) -> bytes:
        return body.replace(HEAD, first, 1) if isinstance(key.name, tuple) else body

    app.user_middleware.append(Middleware(Kept, key_of=key_of, finish=finish))


def head(assets: str, kinds: Collection[str]) -> str:
    """The scripts that run first, and the names of all that is needed then."""
    code = "\n".join((ASSETS / f"{name}.js").read_text("utf-8") for name in FIRST)
    found = [f"<script>window.atelierAssets = {json.dumps(assets)};\n{code}</script>", LOCALIZATION]
    for name in gradio(FRONTEND, kinds):
        wanted = 'rel="modulepreload"' if name.endswith(".js") else 'rel="preload" as="style"'
        found.append(f'<link {wanted} crossorigin href="assets/{name}">')
    for name in own(ASSETS):  # not before gradio has drawn the page
        found.append(f'<link rel="modulepreload" fetchpriority="low" crossorigin href="{assets}/{name}">')
    return "".join(found)
