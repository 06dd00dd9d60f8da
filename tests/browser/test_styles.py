"""Styles and templates on the page."""

import pytest
from playwright.sync_api import expect

from modules.images.infotext import parse_infotext
from tests.browser.page import Atelier
from tests.server import Server, until

pytestmark = [pytest.mark.browser, pytest.mark.starter, pytest.mark.timeout(900)]


def test_a_style_is_made_used_and_applied(atelier: Atelier, server: Server):
    page = atelier.page
    atelier.set(prompt="a {red|blue} house", steps=2, width=64, height=64, seed=5)
    page.locator("#txt2img_styles_edit_button").click()
    page.locator("#txt2img_styles_edit_select input").fill("Night")
    page.locator("#txt2img_styles_edit_select input").press("Enter")
    page.locator("#txt2img_edit_style_prompt textarea").fill("{prompt} at night")
    page.locator("#txt2img_edit_style_save").click()
    page.locator("#txt2img_edit_style_close").click()
    expect(page.locator("#txt2img_styles_dialog")).not_to_be_visible()
    until(lambda: "at night" in (server.data / "styles.csv").read_text("utf-8-sig"), 60)
    page.locator("#txt2img_styles input").click()
    page.get_by_role("option", name="Night").click()
    expect(page.locator("#txt2img_styles")).to_contain_text("Night")
    atelier.field("prompt").click()
    atelier.generate().finished()
    atelier.large()
    told = parse_infotext(atelier.find(".infotext").inner_text())
    assert told.prompt in ("a red house at night", "a blue house at night")
    assert told.fields["Template"] == "a {red|blue} house at night"
    page.locator("#txt2img_style_apply").click()
    expect(atelier.field("prompt")).to_have_value("a {red|blue} house at night")
    atelier.remembers("prompt", "a {red|blue} house at night").reload()
    assert atelier.value("prompt") == "a {red|blue} house at night"


def test_keys_change_weights_and_order(atelier: Atelier):
    atelier.set(prompt="a red cat, snow")
    box = atelier.field("prompt")
    box.evaluate("box => box.setSelectionRange(3, 3)")
    for keys, text in (
        ("Control+ArrowUp", "a (red:1.1) cat, snow"),
        ("Control+ArrowUp", "a (red:1.2) cat, snow"),
        ("Control+ArrowDown", "a (red:1.1) cat, snow"),
        ("Control+ArrowDown", "a red cat, snow"),
        ("Alt+ArrowRight", "snow, a red cat"),
        ("Alt+ArrowRight", "snow, a red cat"),
        ("Alt+ArrowLeft", "a red cat, snow"),
    ):
        box.press(keys)
        expect(box).to_have_value(text)
    atelier.set(prompt="<lora:x:0.8>")
    box.evaluate("box => box.setSelectionRange(3, 3)")
    box.press("Control+ArrowUp")
    expect(box).to_have_value("<lora:x:0.85>")
    atelier.reload()
    assert atelier.value("prompt") == "<lora:x:0.85>"
