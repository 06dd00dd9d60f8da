"""colab.ipynb from top to bottom, cell by cell, with stand-ins for Colab's drive and for the tunnel's program."""

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.server import free_port, until

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = json.loads((ROOT / "colab.ipynb").read_text("utf-8"))
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
ADDRESS = "https://stub-of-a-tunnel.trycloudflare.com"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="launch.sh needs a POSIX system")


def run(cell: str, names: dict[str, Any]) -> None:
    exec(compile(cell, "colab.ipynb", "exec"), names)


def stand_in(folder: Path) -> Path:
    """A cloudflared that opens nothing and says that it did."""
    folder.mkdir()
    program = folder / "cloudflared"
    program.write_text(f'#!/bin/sh\necho "{ADDRESS}"\nexec sleep 600\n')
    program.chmod(0o755)
    return folder


def test_it_is_a_notebook_without_results():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["metadata"]["accelerator"]) == (4, "GPU")
    assert all(
        not cell["outputs"] and cell["execution_count"] is None for cell in NOTEBOOK["cells"] if "outputs" in cell
    )
    for cell in CELLS:
        compile(cell, "colab.ipynb", "exec")


def test_what_is_missing_is_said(tmp_path):
    names: dict[str, Any] = {}
    with pytest.raises(SystemExit, match="REPOSITORY is empty"):
        run(CELLS[0], names)
    with pytest.raises(SystemExit, match="NGROK_TOKEN is empty"):
        run(CELLS[3], {**names, "TUNNEL": "ngrok", "NGROK_TOKEN": "", "subprocess": subprocess})


def test_without_drive_everything_is_beside_the_program(tmp_path, capsys):
    names = {"USE_DRIVE": True, "DRIVE": tmp_path / "none", "PROGRAM": tmp_path / "atelier"}
    run(CELLS[2], names)
    assert names["DATA"] == tmp_path / "atelier-data" and "is not mounted" in capsys.readouterr().out


@pytest.mark.slow
def test_top_to_bottom(tmp_path, monkeypatch):
    """Clones this checkout, starts it with its data on the drive, opens the stand-in's tunnel, draws, ends."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout of git")
    monkeypatch.setenv("PATH", f"{stand_in(tmp_path / 'bin')}:{os.environ['PATH']}")
    monkeypatch.delenv("COMMANDLINE_ARGS", raising=False)
    (tmp_path / "drive" / "MyDrive").mkdir(parents=True)
    port = free_port()
    chosen = {
        "REPOSITORY": f"file://{ROOT}",
        "PROGRAM": tmp_path / "content" / "atelier",
        "DRIVE": tmp_path / "drive",
        "PORT": port,
        "TUNNEL": "cloudflared",
        "MORE_FLAGS": "--skip-install --use-cpu all --no-half --api-auth 'bot:a b'",
    }
    names: dict[str, Any] = {}
    with contextlib.suppress(SystemExit):  # nobody filled it in
        run(CELLS[0], names)
    names |= chosen
    run(CELLS[1], names)
    (chosen["PROGRAM"] / "venv").symlink_to(Path(sys.prefix))
    run(CELLS[2], names)
    said = io.StringIO()

    def serve() -> None:
        run(CELLS[3], {**names, "print": lambda *words, **how: said.write(" ".join(words) + "\n")})

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    data = tmp_path / "drive" / "MyDrive" / "atelier"
    try:
        until(lambda: f"Running on {ADDRESS}" in said.getvalue() or not thread.is_alive(), 180, said.getvalue)
        assert "/login?once=" in said.getvalue(), said.getvalue()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as client:
            until(lambda: _answers(client), 60)
            assert client.get("/", follow_redirects=False).status_code in (302, 303, 307, 401)
            body = {"prompt": "a red star", "width": 64, "height": 64, "steps": 2, "save_images": True}
            answer = client.post("/sdapi/v1/txt2img", json=body, auth=("bot", "a b"))
            assert answer.status_code == 200 and answer.json()["images"], answer.text[:300]
        assert (data / "jobs.sqlite3").stat().st_size and len([*(data / "outputs").rglob("*.png")]) == 1
    finally:
        _end(str(data))
        thread.join(60)
    assert "The server has ended" in said.getvalue()


def _answers(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/healthz").status_code == 200
    time.sleep(0.1)
    return False


def _end(data: str) -> None:
    """Interrupt the server with that data folder."""

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if data in process.cmdline() and "app.py" in process.cmdline():
                process.send_signal(2)
