"""axe-core finds nothing serious on any tab, light or dark."""

from importlib.resources import files
from typing import Literal

import pytest
from playwright.sync_api import Page

from tests.browser.page import Atelier

pytestmark = [pytest.mark.browser, pytest.mark.gentle, pytest.mark.timeout(900)]
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
OPEN = """() => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  for (const one of document.querySelectorAll("button.label-wrap:not(.open)")) if (one.offsetParent) one.click();
}"""
FOUND = """async ([place, rules]) => {
  const { violations } = await axe.run(place ?? document, { resultTypes: ["violations"], ...(rules && { runOnly: rules }) });
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)} ${failureSummary}`));
}"""


def with_axe(page: Page) -> Page:
    """The page, whose colours do not fade over from now on."""
    page.add_style_tag(content="* { transition: none !important }")
    page.evaluate(AXE)
    return page


def colours(page: Page, theme: Literal["light", "dark"]) -> None:
    """As the system says."""
    page.emulate_media(color_scheme=theme)
    page.wait_for_function(f"document.body.classList.contains('dark') === {str(theme == 'dark').lower()}")


def opened(page: Page) -> list[str]:
    """Every tab in turn, with all that is folded in it: what axe finds there, and in the dark of its colours."""
    found = page.evaluate(FOUND, [None, None])
    for tab in page.locator("#tabs > .tab-wrapper button[role=tab]").all():
        if not tab.is_visible():
            continue
        tab.click()
        panel = f"#{tab.get_attribute('aria-controls')}"
        page.locator(panel).wait_for()
        for _ in range(2):  # one within another
            page.evaluate(OPEN)
            page.wait_for_timeout(200)
        found += [f"{tab.inner_text()}: {words}" for words in page.evaluate(FOUND, [panel, None])]
        colours(page, "dark")
        found += [f"{tab.inner_text()}, dark: {words}" for words in page.evaluate(FOUND, [panel, ["color-contrast"]])]
        colours(page, "light")
    return found


def test_axe_finds_nothing_serious(atelier: Atelier):
    page = with_axe(atelier.page)
    assert page.evaluate("axe.version").startswith("4.")
    assert opened(page) == []


def test_axe_would_find_it(atelier: Atelier):
    page = with_axe(atelier.page)
    page.evaluate("""() => {
      const words = Object.assign(document.createElement("p"), { textContent: "Faint words" });
      words.style.cssText = "color: #bbb; background: #fff";
      document.querySelector("#txt2img_settings").prepend(words);
    }""")
    assert any(
        words.startswith("color-contrast: ") and "Faint words" in words for words in page.evaluate(FOUND, [None, None])
    )
    colours(page, "dark")
    page.locator("#txt2img_settings p").first.evaluate(
        "(words) => (words.style.cssText = 'color: #333; background: #222')"
    )
    assert any("Faint words" in words for words in page.evaluate(FOUND, [None, ["color-contrast"]]))
