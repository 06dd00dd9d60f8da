"""A server of several people over a small model, and what is measured of it."""

import base64
import json
import platform
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.server import Server, until
from tests.tiny import write_tiny

USERS = tuple(f"user{number}" for number in range(8))


class Crowd(Server):
    """`--listen` with an account for each of USERS, and `root`, who is their administrator."""

    def __init__(self, data: Path, *arguments: str) -> None:
        accounts = ",".join(f"{name}:{name}s secret" for name in ("root", *USERS))
        super().__init__(data, "--listen", "--auth", accounts, *arguments)
        self._lock = threading.Lock()
        self._tokens: dict[str, str] = {}

    def client(self, name: str, timeout: float = 900) -> httpx.Client:
        """That user's, with an API token: many calls at once with a password look like guessing."""
        return self._client(self.token(name), timeout)

    def token(self, name: str) -> str:
        """An API token of that user."""
        with self._lock:
            if name not in self._tokens:
                with self._client(f"{name}s secret", 120, name) as client:
                    self._tokens[name] = client.post("/atelier/me/tokens", json={"label": "load"}).json()["token"]
            return self._tokens[name]

    def _client(self, secret: str, timeout: float, name: str | None = None) -> httpx.Client:
        login = f"Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}" if name else f"Bearer {secret}"
        return httpx.Client(base_url=self.url, headers={"Authorization": login}, timeout=timeout, trust_env=False)


@pytest.fixture
def crowd(tmp_path) -> Iterator[Crowd]:
    models = tmp_path / "models"
    models.mkdir()
    write_tiny(models / "tiny.safetensors")
    with Crowd(tmp_path / "data", "--ckpt-dir", str(models), "--ckpt", "tiny") as running:
        with running.client("root") as client:
            until(lambda: client.get("/readyz").status_code == 200, 280)
            assert client.get("/").status_code == 200  # who comes first waits until it is made
        yield running


def percentile(values: list[float], share: float) -> float:
    """The value that so many of them do not exceed."""
    found = sorted(values)
    return found[min(int(len(found) * share), len(found) - 1)]


def slope(points: list[tuple[float, float]]) -> float:
    """The straight line's rise an hour through (seconds, value)."""
    times, values = [t / 3600 for t, _ in points], [v for _, v in points]
    return statistics.linear_regression(times, values).slope if len(points) > 2 else 0.0


def told(**figures: object) -> None:
    """Print a line of figures with the machine's name."""
    cores, load = psutil.cpu_count(), psutil.getloadavg()[0] if hasattr(psutil, "getloadavg") else 0
    print("\n" + json.dumps({"machine": f"{platform.machine()}, {cores} cores", "load": round(load, 1), **figures}))


class Gauge:
    """Memory, handles and threads of the server and its engine, over time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._begun = time.monotonic()
        self.rows: list[dict[str, float]] = []

    def read(self) -> None:
        """Take a reading; the engine's is left out while there is none."""
        row = {"t": time.monotonic() - self._begun}
        for name, process in (("web", self._server.process), ("engine", self._server.engine())):
            if process is not None:
                row[f"{name} MB"] = process.memory_info().rss / 2**20
                row[f"{name} handles"] = process.num_fds()
                row[f"{name} threads"] = process.num_threads()
        self.rows.append(row)

    def slope(self, name: str, after: float = 0.25) -> float:
        """Of that figure an hour, the first part of the time aside."""
        kept = self.rows[int(len(self.rows) * after) :]
        return slope([(row["t"], row[name]) for row in kept if name in row])
