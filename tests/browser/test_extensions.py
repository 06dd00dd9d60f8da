"""The tab Extensions: what there is and why it is not used; one is switched off, over a restart of the server."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.page import Atelier
from tests.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("extensions") / "data"
    for name, text in {"good": "def register(api): pass", "<b>bad": "raise RuntimeError('<img src=x>')"}.items():
        (data / "extensions" / name).mkdir(parents=True)
        (data / "extensions" / name / "ui.py").write_text(text)
    with Server(data) as running:
        yield running


def test_one_is_switched_off(atelier: Atelier, server: Server):
    page = atelier.page
    page.get_by_role("tab", name="Extensions").click()
    panel = page.locator(".extensions")
    rows = panel.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("ui.py: RuntimeError: <img src=x>")
    expect(rows.nth(1)).to_contain_text("In use")
    apply = panel.get_by_role("button", name="Apply and restart UI")
    expect(apply).to_be_disabled()
    rows.nth(1).get_by_role("checkbox").uncheck()
    with page.expect_navigation():
        apply.click()
    atelier.ready()
    page.get_by_role("tab", name="Extensions").click()
    expect(rows.nth(1)).to_contain_text("Switched off.")
    expect(rows.nth(1).get_by_role("checkbox")).not_to_be_checked()
    assert server.get("/sdapi/v1/extensions").json()[1]["enabled"] is False
