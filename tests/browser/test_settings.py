"""The tab Settings, in a real browser."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.page import Atelier
from tests.server import Server

pytestmark = pytest.mark.browser


@pytest.fixture
def page(atelier: Atelier) -> Page:
    opened(atelier.page)
    return atelier.page


def opened(page: Page) -> None:
    page.get_by_role("tab", name="Settings").click()
    row(page, "samples_format").wait_for()


def row(page: Page, name: str) -> Locator:
    return page.locator(".settings .setting").filter(has=page.locator(f"#setting_of_{name}"))


def button(page: Page, name: str) -> Locator:
    return page.locator(".settings .bar").get_by_role("button", name=name)


def test_a_setting_is_changed_marked_applied_and_put_back(page: Page, server: Server):
    expect(button(page, "Apply settings")).to_be_disabled()
    page.get_by_label("File format for images", exact=True).select_option("webp")
    page.get_by_label("Add number to filename when saving", exact=True).uncheck()
    expect(row(page, "samples_format")).to_have_class(re.compile("unsaved"))
    assert server.get("/sdapi/v1/options").json()["samples_format"] == "png"
    button(page, "Apply settings (2 changed)").click()
    notice = page.locator(".settings .notice")
    expect(notice).to_have_text("Changed: File format for images, Add number to filename when saving.")
    assert server.get("/sdapi/v1/options").json()["samples_format"] == "webp"
    for name in ("samples_format", "save_images_add_number"):
        expect(row(page, name)).to_have_class("setting differs")
        row(page, name).get_by_role("button", name="back to its default").click()
    page.keyboard.press("Control+Enter")
    expect(button(page, "Apply settings")).to_be_disabled()
    assert server.get("/sdapi/v1/options").json()["samples_format"] == "png"


def test_what_is_not_applied_yet_survives_a_reload(page: Page, server: Server):
    page.get_by_label("Quality for saved jpeg and avif images", exact=True).fill("55")
    page.reload()
    opened(page)
    expect(page.get_by_label("Quality for saved jpeg and avif images", exact=True)).to_have_value("55")
    button(page, "Discard changes").click()
    expect(page.get_by_label("Quality for saved jpeg and avif images", exact=True)).to_have_value("80")
    assert server.get("/sdapi/v1/options").json()["jpeg_quality"] == 80


def test_a_wrong_value_is_told_and_changes_nothing(page: Page, server: Server):
    page.get_by_label("Quality for saved jpeg and avif images", exact=True).fill("500")
    page.get_by_label("Use lossless compression for webp images", exact=True).check()
    button(page, "Apply settings (2 changed)").click()
    expect(page.locator(".settings .notice")).to_have_text("jpeg_quality is 500: it must be at most 100.")
    assert server.get("/sdapi/v1/options").json()["webp_lossless"] is False
    button(page, "Discard changes").click()


def test_settings_are_searched_by_label_name_and_help(page: Page):
    search = page.get_by_label("Search settings", exact=True)
    for words, name in (("clip SKIP", "CLIP_stop_at_last_layers"), ("eta_noise", "eta_noise_seed_delta")):
        search.fill(words)
        expect(page.locator(".settings .setting:visible")).to_have_count(1)
        expect(row(page, name)).to_be_visible()
    search.fill("no such thing")
    expect(page.locator(".settings .none")).to_be_visible()
    search.fill("")
    page.get_by_label("Only what differs from its default", exact=True).check()
    expect(row(page, "jpeg_quality")).to_be_hidden()
