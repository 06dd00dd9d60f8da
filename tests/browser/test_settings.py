"""The tab Settings, in a real browser."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.page import Atelier
from tests.server import Server, until

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
        expect(row(page, "jpeg_quality")).to_be_hidden()
        expect(row(page, name)).to_be_visible()
    search.fill("no such thing")
    expect(page.locator(".settings .none")).to_be_visible()
    search.fill("")
    page.get_by_label("Only what differs from its default", exact=True).check()
    expect(row(page, "jpeg_quality")).to_be_hidden()


def test_the_pages_values_become_what_it_begins_with(atelier: Atelier, server: Server):
    page = atelier.page
    atelier.set(steps=7)
    opened(page)
    box = page.locator(".settings .defaults")
    box.locator("summary").click()
    expect(box.locator(".changes")).to_contain_text("Sampling steps")
    box.get_by_role("button", name="Apply", exact=True).click()
    expect(box.locator(".said")).to_have_text("The page begins with these values from now on.")
    expect(box.locator(".stored")).to_contain_text("Sampling steps: 7")
    page.evaluate("sessionStorage.clear(), localStorage.clear()")
    atelier.reload()
    assert atelier.value("steps") == "7"
    opened(page)
    box.locator("summary").click()
    box.get_by_role("button", name="Undo").click()
    expect(box.locator(".stored")).to_be_empty()
    atelier.reload()
    assert atelier.value("steps") != "7"


def test_the_bar_holds_the_settings_of_its_list(atelier: Atelier, server: Server):
    names = ["sd_model_checkpoint", "CLIP_stop_at_last_layers", "samples_save"]
    assert server.post("/sdapi/v1/options", {"quicksettings_list": names}).status_code == 200
    try:
        page = atelier.reload().page
        box = page.locator("#quick_CLIP_stop_at_last_layers")
        expect(page.locator(".quick .quick-setting")).to_have_count(2)
        box.fill("2")
        expect(box).to_have_value("2")
        until(lambda: server.get("/sdapi/v1/options").json()["CLIP_stop_at_last_layers"] == 2, 20)
        box.fill("900")
        expect(page.locator(".quick .said")).to_have_text("CLIP_stop_at_last_layers is 900: it must be at most 12.")
        expect(box).to_have_value("2")
    finally:
        server.post("/sdapi/v1/options", {"quicksettings_list": names[:1], "CLIP_stop_at_last_layers": 1})


def test_a_preset_is_kept_applied_and_deleted(atelier: Atelier):
    page = atelier.set(prompt="a fox <lora:ink:1>", steps=9, width=192).page
    opened(page)
    box = page.locator(".settings .presets")
    box.locator("summary").click()
    box.locator(".name").fill("small")
    box.get_by_role("button", name="Save preset").click()
    expect(box.locator(".said")).to_have_text("The preset small is kept.")
    page.get_by_role("tab", name="txt2img").click()
    atelier.set(prompt="a boat", steps=3, width=64)
    opened(page)
    box.get_by_role("button", name="Apply preset").click()
    page.wait_for_function("sessionStorage['atelier.preset'] === undefined && document.body.dataset.atelier")
    expect(atelier.field("steps")).to_have_value("9")
    expect(atelier.field("width")).to_have_value("192")
    expect(atelier.field("prompt")).to_have_value("a boat <lora:ink:1>")
    opened(page)
    box.locator("summary").click()
    with page.expect_download() as download:
        box.get_by_role("button", name="Share presets").click()
    assert download.value.suggested_filename == "atelier-presets.json"
    box.get_by_role("button", name="Delete preset").click()
    expect(box.locator(".list")).to_be_empty()
    with page.expect_file_chooser() as chooser:
        box.get_by_role("button", name="Take presets of a file").click()
    chooser.value.set_files(download.value.path())
    expect(box.locator(".list")).to_contain_text("small")
    box.get_by_role("button", name="Delete preset").click()
