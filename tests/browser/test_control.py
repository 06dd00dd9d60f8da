"""ControlNet units in a real browser: what they keep over a reload, pictures of a folder, and what a preprocessor lacks."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.page import Atelier
from tests.server import until

pytestmark = [pytest.mark.browser, pytest.mark.gentle, pytest.mark.timeout(600)]
UNIT = "#txt2img_controlnet_ControlNet-0"


def opened(atelier: Atelier) -> tuple[Page, Locator]:
    """The first unit of txt2img."""
    page = atelier.page
    page.locator("details summary", has_text="ControlNet").first.click()
    expect(page.locator(UNIT)).to_be_visible()
    return page, page.locator(UNIT)


def told(page: Page) -> dict[str, object]:
    """The first unit as the form says it."""
    text = page.locator("#txt2img_control textarea, #txt2img_control input").input_value()
    return json.loads(text)[0]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "inputs"
    folder.mkdir()
    for name, colour in (("b.png", "red"), ("a.png", "blue")):
        Image.new("RGB", (64, 64), colour).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_reload_keeps_filter_pictures_and_preview(atelier: Atelier, pictures: Path) -> None:
    page, unit = opened(atelier)
    unit.get_by_label("Canny", exact=True).check()
    unit.get_by_label("Preview as Input").check()
    with page.expect_file_chooser() as chooser:
        page.locator(f"{UNIT}_image").click()
    chooser.value.set_files(pictures / "b.png")
    unit.get_by_title("Run preprocessor").click()
    expect(unit.locator(".preview img")).to_be_visible()
    unit.get_by_label("Batch", exact=True).check()
    with page.expect_file_chooser() as chooser:
        unit.get_by_text("Choose a folder").click()
    chooser.value.set_files(pictures)
    expect(unit.locator(".names")).to_have_text("a.png, b.png")
    page.wait_for_function("() => JSON.parse(localStorage['atelier.control.txt2img'])[0]?.images?.length === 2")
    before = told(page)
    images = before["images"]
    assert isinstance(images, list) and len(images) == 2 and before["module"] == "none" and before["image"]
    atelier.reload()
    page, unit = opened(atelier)
    expect(unit.locator(".names")).to_have_text("a.png, b.png")
    expect(unit.locator(".preview img")).to_be_visible()
    expect(unit.get_by_label("Canny", exact=True)).to_be_checked()
    expect(unit.get_by_label("Preview as Input")).to_be_checked()
    expect(page.locator(f"{UNIT}_preprocessor")).to_have_value("canny")
    until(lambda: told(page) == before, 20)


def test_what_a_preprocessor_lacks_can_be_fetched(atelier: Atelier) -> None:
    page, unit = opened(atelier)
    fetch = page.locator(f"{UNIT}_download")
    expect(fetch).to_be_hidden()
    unit.get_by_label("OpenPose", exact=True).check()
    expect(fetch).to_be_visible()
    assert "MB)" in (fetch.get_attribute("title") or "")
    asked: list[str] = []
    page.route(
        "**/atelier/preprocessors/*/download",
        lambda route: (asked.append(route.request.url), route.fulfill(json={"downloads": []})),
    )
    fetch.click()
    page.wait_for_function("() => document.body.textContent.includes('It is in the list of downloads')")
    assert asked[0].endswith("/atelier/preprocessors/openpose_full/download")
    unit.get_by_label("Canny", exact=True).check()
    expect(fetch).to_be_hidden()


def test_what_a_unit_went_by_stands_after_the_picture(atelier: Atelier, pictures: Path) -> None:
    page, unit = opened(atelier)
    unit.get_by_label("Reference", exact=True).check()
    with page.expect_file_chooser() as chooser:
        page.locator(f"{UNIT}_image").click()
    chooser.value.set_files(pictures / "b.png")
    atelier.set(steps=2).generate().finished()
    strip = atelier.find(".thumbnails > button")
    expect(strip).to_have_count(2)
    strip.nth(1).click()
    expect(atelier.find(".stage img")).to_have_attribute("alt", re.compile("^Control map of: "))
    assert (atelier.find(".tools .download").get_attribute("download") or "").endswith("-map-1.png")
