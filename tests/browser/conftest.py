"""A headless Chromium, and pages that may neither fail nor ask other machines for anything."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.browser.page import Atelier
from tests.server import Server

PATIENCE = 120_000  # milliseconds: a machine that is busy with other things is slow, not wrong
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a run of all, which has the machine full, what fails is tried once more, and both are told of (see tests/conftest.py)."""
    if hasattr(config, "workerinput"):
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One a module: as long as it runs, no other test may use asyncio in this thread."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser is installed: looked for {', '.join(NAMES)} (Debian: apt install {NAMES[0]})")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=list(SWITCHES))
        yield running
        running.close()


@pytest.fixture
def context(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    """A fresh profile: nothing remembered, no errors allowed, no other machine asked."""
    troubles: list[str] = []
    found = browser.new_context(viewport={"width": 1280, "height": 800})
    found.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    found.on("weberror", lambda error: troubles.append(f"script error: {error.error}"))
    found.on("dialog", lambda dialog: troubles.append(f"dialog: {dialog.message}"))
    found.on("request", lambda request: None if local(request.url, server) else troubles.append(f"asks {request.url}"))
    yield found
    for page in found.pages:
        Atelier(page).interrupt_if_running()
    found.close()
    assert not troubles


@pytest.fixture
def atelier(context: BrowserContext, server: Server) -> Atelier:
    """The page, open and ready."""
    return Atelier(context.new_page()).open(server.url)


def local(url: str, server: Server) -> bool:
    """Whether that address is the server's, or no address at all."""
    return url.startswith((f"{server.url}/", "data:", "blob:"))
