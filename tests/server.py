"""A real `python app.py` in a process of its own, for tests that talk to it over HTTP or in a browser."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
from typing_extensions import Self

from modules.core.paths import ROOT

CHECKPOINTS = "ATELIER_TEST_CHECKPOINTS"  # one more folder with checkpoints, for a tree without the bundled model


class Server:
    """Starts when entered, stops when left. `data` is its data folder, `log` what it printed so far.

    `exact`: PyTorch computes, so that no fresh data folder waits for models to be converted. `welcomed`: the panel that greets at
    the first start was put away before.
    """

    def __init__(
        self, data: Path, *arguments: str, port: int | None = None, exact: bool = True, welcomed: bool = True
    ) -> None:
        self.data = data
        self._welcomed = welcomed
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        extra = ("--ckpt-dir", os.environ[CHECKPOINTS]) if os.environ.get(CHECKPOINTS) else ()
        self._command = [
            sys.executable,
            "app.py",
            "--port",
            str(self.port),
            "--data-dir",
            str(data),
            *extra,
            *(["--no-half"] if exact else []),
            *arguments,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.url, timeout=120, trust_env=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.http.close()

    @property
    def process(self) -> psutil.Process:
        """The web process."""
        assert self._process is not None, "the server is not running"
        return psutil.Process(self._process.pid)

    @property
    def log(self) -> str:
        """What the server has printed."""
        return self._log_file.read_text("utf-8", "replace") if self._log_file.exists() else ""

    @property
    def _log_file(self) -> Path:
        return self.data.parent / f"{self.data.name}.log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.data.mkdir(parents=True, exist_ok=True)
        if not (self.data / "config.json").exists():  # grids have tests of their own; elsewhere pictures are counted
            (self.data / "config.json").write_text('{"grid_save": false, "return_grid": false}')
        if self._welcomed:
            (self.data / "welcomed").touch()
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "PYTHONUNBUFFERED": "1"}
            )
        until(self._answers, 180, lambda: f"the server did not answer:\n{self.log}")

    def stop(self) -> None:
        """End it, politely first; it takes its engine along."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def engine(self) -> psutil.Process | None:
        """The engine process, while there is one."""
        for child in self.process.children():
            try:
                if any("spawn_main" in part for part in child.cmdline()):
                    return child
            except psutil.Error:
                continue
        return None

    def kill_engine(self) -> int:
        """kill -9 the engine process; its process id."""
        engine = self.engine()
        assert engine is not None, "no engine process is running"
        engine.send_signal(signal.SIGKILL)
        return engine.pid

    def get(self, path: str, **values: Any) -> httpx.Response:
        """GET `path` of the server."""
        return self.http.get(path, **values)

    def post(self, path: str, json: Any = None, **values: Any) -> httpx.Response:
        """POST `json` to `path` of the server."""
        return self.http.post(path, json=json, **values)

    def pictures(self) -> list[Path]:
        """The files saved in outputs, oldest first."""
        return sorted((self.data / "outputs").rglob("*.png"), key=lambda path: path.stat().st_mtime_ns)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the server ended with code {self._process.returncode}:\n{self.log}")
        try:
            self.http.get("/", timeout=5)
        except httpx.TransportError:
            return False
        return True


def free_port() -> int:
    """A port of the loopback interface that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def until(true: Any, seconds: float, otherwise: Any = lambda: "it never happened") -> Any:
    """What `true()` gives once it is truthy; fails with the text of `otherwise()` after that many seconds."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, otherwise()
        time.sleep(0.05)
    return found
