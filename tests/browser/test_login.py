"""Logging in as people do, on a server that others may reach."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.page import Atelier
from tests.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """One that wants a login."""
    with Server(tmp_path_factory.mktemp("login") / "data", "--auth", "ann:anns secret,bob:bobs secret") as running:
        yield running


def log_in(page, name: str, password: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_logging_in_drawing_and_logging_out(context, server):
    page = context.new_page()
    page.goto(server.url)
    expect(page).to_have_title("Log in - Atelier")
    log_in(page, "bob", "wrong")
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    log_in(page, "bob", "bobs secret")
    atelier = Atelier(page).ready()
    atelier.set(prompt="a red star", steps=3).generate().finished()
    large = atelier.large()
    page.get_by_role("link", name="bob").click()
    expect(page.get_by_role("heading", name="Account bob")).to_be_visible()
    expect(page.locator("#users")).to_be_hidden()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_title("Log in - Atelier")
    other = context.browser.new_context()
    asks = other.new_page()
    asks.goto(server.url)
    log_in(asks, "ann", "anns secret")
    Atelier(asks).ready()
    assert asks.goto(large).status == 200  # an administrator
    other.close()


def test_administration(context, server):
    page = context.new_page()
    page.goto(f"{server.url}/account")
    log_in(page, "ann", "anns secret")
    expect(page.get_by_role("heading", name="Account ann")).to_be_visible()
    users = page.locator("#users")
    users.get_by_label("Name").fill("carol")
    users.get_by_role("button", name="Add").click()
    told = page.get_by_role("status")
    expect(told).to_contain_text("The password of carol is ")
    password = told.inner_text().rpartition(" ")[2]
    tokens = page.locator("#tokens")
    tokens.get_by_label("Name of a new token").fill("<b>robot</b>")
    tokens.get_by_role("button", name="Make").click()
    expect(told).to_contain_text("atl_")
    expect(tokens.get_by_role("cell", name="<b>robot</b>", exact=True)).to_be_visible()
    token = told.inner_text().rpartition(" ")[2]
    assert server.get("/atelier/me", headers={"Authorization": f"Bearer {token}"}).json()["name"] == "ann"
    page.get_by_role("button", name="Log out").click()
    log_in(page, "carol", password)
    Atelier(page).ready()
    expect(page.get_by_role("link", name="carol")).to_be_visible()


def test_the_link_that_logs_in_once(context, server):
    once = server.log.partition("/login?once=")[2].split()[0]
    page = context.new_page()
    page.goto(f"{server.url}/login?once={once}")
    page.get_by_role("button", name="Log in").click()
    Atelier(page).ready()
    expect(page.get_by_role("link", name="ann")).to_be_visible()
