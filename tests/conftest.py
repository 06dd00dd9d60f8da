"""Fixtures for more than one folder of tests."""

from collections.abc import Iterator

import pytest

from tests.server import Server


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server with a data folder of its own, for all gentle modules."""
    with Server(tmp_path_factory.mktemp("shared") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server with a data folder of its own, one a test module; the shared one of those that are gentle."""
    if request.node.get_closest_marker("gentle"):
        yield request.getfixturevalue("shared_server")
        return
    with Server(tmp_path_factory.mktemp("server") / "data") as running:
        yield running


def pytest_terminal_summary(terminalreporter):
    """The table of recorded runs, when some were drawn; and how tests failed that were tried once more."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"failed at first: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    rows = [value for report in reports for key, value in report.user_properties if key == "parity"]
    if rows:
        terminalreporter.section("parity")
        terminalreporter.write_line("| case | relative L2 of the latent | at most |\n|---|---:|---:|")
        terminalreporter.write_line("\n".join(sorted(rows)))


BY_HAND = ("load", "soak")


def pytest_addoption(parser):
    parser.addoption("--soak-minutes", type=float, default=120.0, help="how long a soak test runs")


def pytest_collection_modifyitems(config, items):
    """Tests that fill the machine run only when their marker is asked for: `pytest -m load`, `pytest -m soak`."""
    for mark in BY_HAND:
        if mark not in (config.option.markexpr or ""):
            skip = pytest.mark.skip(reason=f"by hand: pytest -m {mark}")
            for item in items:
                if item.get_closest_marker(mark):
                    item.add_marker(skip)
