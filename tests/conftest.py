"""Fixtures for more than one folder of tests."""

from collections.abc import Iterator

import pytest

from tests.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server with a data folder of its own, one a test module."""
    with Server(tmp_path_factory.mktemp("server") / "data") as running:
        yield running
