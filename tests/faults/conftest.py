"""Whole programs over a tiny model."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server import Server
from tests.tiny import write_tiny


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """A folder with one small checkpoint of random weights."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny(folder / "tiny.safetensors")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory, models) -> Iterator[Server]:
    """One for a whole module."""
    data = tmp_path_factory.mktemp("faults") / "data"
    with Server(data, "--nowebui", "--ckpt-dir", str(models), "--ckpt", "tiny") as running:
        yield running


@pytest.fixture
def serve(tmp_path, models) -> Iterator[Callable[..., Server]]:
    """Starts servers over `tmp_path / "data"`; all are stopped at the end."""
    started: list[Server] = []

    def start(*arguments: str) -> Server:
        server = Server(tmp_path / "data", "--nowebui", "--ckpt-dir", str(models), "--ckpt", "tiny", *arguments)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()
        server.http.close()
