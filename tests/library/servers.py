"""Local servers that speak as Hugging Face, Civitai and plain file servers do, faults included."""

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.jobs.helpers import write_checkpoint


@dataclass(kw_only=True)
class Served:
    """One address. The lists are used up, one entry a request: `statuses` answered before the file, `cuts` the number of bytes
    after which the connection breaks. `redirect` leads elsewhere; `token` is the one that is asked for."""

    data: bytes = b""
    etag: str = '"v1"'
    kind: str = "application/octet-stream"
    ranges: bool = True
    length: bool = True
    redirect: str = ""
    token: str = ""
    pause: float = 0.0
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Asked:
    """A request that came. `host` is the name it was sent to."""

    path: str
    host: str
    headers: dict[str, str]


class Site:
    """A server with files and JSON at paths; remembers what it was asked. Reached as 127.0.0.1 or, being another host, localhost."""

    def __init__(self) -> None:
        self.served: dict[str, Served] = {}
        self.asked: list[Asked] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    site.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.other = f"http://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "Site":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def file(self, path: str, data: bytes, **options: Any) -> str:
        """Serve `data` there; its address."""
        self.served[path] = Served(data=data, **options)
        return self.url + path

    def json(self, path: str, value: Any, **options: Any) -> None:
        """Serve JSON there."""
        self.served[path] = Served(data=json.dumps(value).encode(), kind="application/json", **options)

    def paths(self) -> list[str]:
        """What was asked, in order, without queries."""
        return [asked.path.partition("?")[0] for asked in self.asked]

    def tokens(self) -> list[tuple[str, str]]:
        """(host, path) of every request that came with a token."""
        return [(asked.host, asked.path) for asked in self.asked if "authorization" in asked.headers]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.asked.append(Asked(path=handler.path, host=headers.get("host", "").partition(":")[0], headers=headers))
        served = self.served.get(unquote(urlsplit(handler.path).path))
        if served is None:
            self._send(handler, 404, {}, b"nothing here")
        elif served.statuses:
            self._send(handler, served.statuses.pop(0), served.headers, b"")
        elif served.token and headers.get("authorization") != f"Bearer {served.token}":
            self._send(handler, 401, served.headers, b'{"error": "no"}')
        elif served.redirect:
            self._send(handler, 302, {**served.headers, "Location": served.redirect}, b"")
        else:
            self._file(handler, served, headers)

    def _file(self, handler: BaseHTTPRequestHandler, served: Served, headers: dict[str, str]) -> None:
        begin, status, sent = 0, 200, {"Content-Type": served.kind, **served.headers}
        if served.etag:
            sent["ETag"] = served.etag
        wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        if wanted and served.ranges and headers.get("if-range", served.etag) == served.etag:
            begin, status = int(wanted[1]), 206
            sent["Content-Range"] = f"bytes {begin}-{len(served.data) - 1}/{len(served.data)}"
            if begin >= len(served.data):
                self._send(handler, 416, {"Content-Range": f"bytes */{len(served.data)}"}, b"")
                return
        self._send(handler, status, sent, served.data[begin:], served)

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        headers: dict[str, str],
        body: bytes,
        served: Served | None = None,
    ) -> None:
        served = served or Served()
        cut = served.cuts.pop(0) if served.cuts else None
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if served.length:
            handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        sent = body if cut is None else body[:cut]
        step = 2**14 if served.pause else 2**20
        for at in range(0, len(sent), step):
            handler.wfile.write(sent[at : at + step])
            handler.wfile.flush()
            time.sleep(served.pause)
        handler.close_connection = True


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """A running server."""
    with Site() as found:
        yield found


def model(tmp_path, size: int = 300_000, name: str = "made") -> bytes:
    """A valid safetensors file of about that size; of equal names equal bytes."""
    path = tmp_path / ".made" / f"{name}.safetensors"
    write_checkpoint(path, {"name": name, "padding": "x" * size})
    return path.read_bytes()


def sha256(data: bytes) -> str:
    """In hex."""
    return hashlib.sha256(data).hexdigest()


def serve_repo(
    site: Site, repo: str, files: dict[str, bytes], *, token: str = "", gated: bool = False, sha: str = "c0ffee"
) -> None:
    """Let `site` have that repository, as Hugging Face does: weights lie on another host, behind a redirect."""
    siblings = []
    for path, data in files.items():
        large = path.endswith((".safetensors", ".ckpt", ".bin"))
        lfs = {"lfs": {"size": len(data), "sha256": sha256(data), "pointerSize": 130}} if large else {}
        siblings.append({"rfilename": path, "size": len(data), "blobId": "b" * 40, **lfs})
        address = f"/{repo}/resolve/{sha}/{path}"
        refused = {"X-Error-Code": "GatedRepo"} if gated else {}
        if large:
            headers = {"X-Linked-Etag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data)), **refused}
            site.file(f"/cdn/{repo}/{path}", data, etag=f'"{sha256(data)[:32]}"')
            site.served[address] = Served(redirect=f"{site.other}/cdn/{repo}/{path}", token=token, headers=headers)
        else:
            site.file(address, data, token=token, headers=refused)
    info = {
        "id": repo,
        "sha": sha,
        "siblings": siblings,
        "tags": ["text-to-image", "license:openrail++"],
        "downloads": 1000,
        "likes": 10,
        "gated": "manual" if gated else False,
        "private": False,
    }
    site.json(f"/api/models/{repo}/revision/main", info)
    listed = json.loads(site.served["/api/models"].data) if "/api/models" in site.served else []
    site.json("/api/models", [*listed, {name: value for name, value in info.items() if name != "siblings"}])


def serve_civitai(site: Site, data: bytes, *, key: str = "", picture: bytes = b"", **file: Any) -> dict[str, Any]:
    """Let `site` have model 7 with version 70 and file 700, as Civitai does; the version as it describes it."""
    entry = {
        "id": 700,
        "name": "pony.safetensors",
        "type": "Model",
        "sizeKB": len(data) / 1024,
        "primary": True,
        "hashes": {"SHA256": sha256(data).upper(), "AutoV2": sha256(data)[:10].upper()},
        "downloadUrl": f"{site.url}/api/download/models/70",
        **file,
    }
    version = {
        "id": 70,
        "modelId": 7,
        "name": "v1",
        "baseModel": "SDXL 1.0",
        "trainedWords": ["pony"],
        "model": {"name": "Pony", "type": "LORA"},
        "files": [entry],
        "images": [{"url": f"{site.other}/pictures/1.png", "type": "image", "nsfwLevel": 1}] if picture else [],
    }
    listed = {"id": 7, "name": "Pony", "type": "LORA", "creator": {"username": "ann"}, "stats": {"downloadCount": 5}}
    site.json("/api/v1/models", {"items": [{**listed, "modelVersions": [version]}], "metadata": {}})
    site.json("/api/v1/models/7", {**listed, "modelVersions": [version]})
    site.json("/api/v1/model-versions/70", version)
    site.json(f"/api/v1/model-versions/by-hash/{sha256(data)}", version)
    site.served["/api/download/models/70"] = Served(redirect=f"{site.other}/store/pony?signature=1", token=key)
    site.file("/store/pony", data)
    if picture:
        site.file("/pictures/1.png", picture, kind="image/png")
    return version


def query_of(asked: Asked) -> dict[str, list[str]]:
    """The query of a request."""
    return parse_qs(urlsplit(asked.path).query)
