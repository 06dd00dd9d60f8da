"""Fixtures for more than one folder of tests."""

from collections.abc import Iterator

import pytest

from tests.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server with a data folder of its own, one a test module."""
    with Server(tmp_path_factory.mktemp("server") / "data") as running:
        yield running


def pytest_terminal_summary(terminalreporter):
    """The table of recorded runs, when some were drawn."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    rows = [value for report in reports for key, value in report.user_properties if key == "parity"]
    if rows:
        terminalreporter.section("parity")
        terminalreporter.write_line("| case | relative L2 of the latent | at most |\n|---|---:|---:|")
        terminalreporter.write_line("\n".join(sorted(rows)))
