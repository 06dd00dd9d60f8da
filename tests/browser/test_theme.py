"""Light and dark, and gradio's themes, in a real browser."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from modules.core.settings import Settings
from tests.browser.page import Atelier
from tests.server import Server
from webui.blocks import theme_of

pytestmark = [pytest.mark.browser, pytest.mark.gentle]


def dark(page: Page) -> bool:
    """Whether the page is drawn dark: its words are lighter than what they stand on."""
    return page.evaluate("""() => {
      const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
      const style = (element) => getComputedStyle(element);
      const clear = (element) => /, 0\\)$/.test(style(element).backgroundColor);
      let ground = document.querySelector("#quicksettings");
      while (clear(ground) && ground.parentElement) ground = ground.parentElement;
      return light(style(document.querySelector(".gradio-container")).color) > light(style(ground).backgroundColor);
    }""")


def test_the_button_goes_through_light_and_dark_and_is_remembered(atelier: Atelier):
    page = atelier.page
    button = page.locator("#theme")
    assert not dark(page)
    expect(button).to_have_attribute("title", "Colours: as the system")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.body.classList.contains('dark')")
    assert dark(page)
    button.click()
    expect(button).to_have_attribute("title", "Colours: light")
    assert not dark(page)
    page.emulate_media(color_scheme="light")
    button.click()
    assert dark(page)
    atelier.reload()
    expect(button).to_have_attribute("title", "Colours: dark")
    assert dark(page)
    button.click()
    assert not dark(page)
    assert "__theme" not in page.url


def test_a1111s_address_makes_it_dark(context: BrowserContext, server: Server):
    atelier = Atelier(context.new_page()).open(f"{server.url}/?__theme=dark")
    assert dark(atelier.page)
    assert not dark(Atelier(context.new_page()).open(server.url).page)  # for that visit alone


def test_every_theme_of_the_setting_needs_no_other_machine():
    field = type(Settings().user_interface).model_fields["gradio_theme"]
    for name in field.annotation.__args__:  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
        theme = theme_of(name)
        assert not theme._stylesheets
        addresses = re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')]*)", theme._get_theme_css())
        assert all(address.startswith(("data:", "static/")) for address in addresses), addresses
