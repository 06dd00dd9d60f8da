"""The page as its user sees it: fields by their labels, what is shown in the results panel."""

import re
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

TELL = """(key) => {
  window.told = false;
  const followed = () => sessionStorage.getItem(key);
  const before = followed(); // after a reload the page may yet tell of this one
  const observer = new MutationObserver(() => {
    if (followed() === before) return;
    window.told = true;
    observer.disconnect();
  });
  observer.observe(document.body, { attributeFilter: ["data-job"] });
}"""


class Atelier:
    """One open page; fields, buttons and results are those of `tab`."""

    def __init__(self, page: Page, tab: str = "txt2img") -> None:
        self.page = page
        self.tab = tab

    def open(self, url: str) -> "Atelier":
        """Go there and wait until it may be used."""
        self.page.goto(url)
        return self.ready()

    def reload(self) -> "Atelier":
        """As the user would."""
        self.page.reload()
        return self.ready()

    def ready(self) -> "Atelier":
        """Wait until the form is filled and the page's job, if there is one, is taken up."""
        self.page.wait_for_selector("body[data-atelier]")
        return self

    def set(self, **values: object) -> "Atelier":
        """Type values into fields, named by the ends of their ids."""
        for name, value in values.items():
            self.field(name).fill(str(value))
            self.field(name).blur()
        return self

    def choose(self, checkpoint: str) -> "Atelier":
        """Pick a checkpoint from the menu."""
        self.page.get_by_label("Stable Diffusion checkpoint").first.click()
        self.page.get_by_role("option").filter(has_text=checkpoint).click()
        return self

    def field(self, name: str) -> Locator:
        """The box to type in."""
        return self.page.locator(f"#{self.tab}_{name}").locator("textarea, input:not([type=range])").first

    def value(self, name: str) -> str:
        """What stands in the box."""
        return self.field(name).input_value()

    def remembers(self, field: str, value: object) -> "Atelier":
        """Wait until a reload would find that: what an answer of the server has set is kept a moment after it is seen."""
        key = "atelier.form" if self.tab == "txt2img" else f"atelier.form.{self.tab}"
        kept = "JSON.stringify(JSON.parse(sessionStorage.getItem(key)).touched[field])"
        self.page.wait_for_function(
            f"([key, field, value]) => {kept} === JSON.stringify(value)", arg=[key, field, value]
        )
        return self

    def button(self, name: str) -> Locator:
        """A button by its name."""
        return self.page.locator(f"#{self.tab}_{name}")

    def find(self, selector: str) -> Locator:
        """Something in the results panel."""
        return self.page.locator(f"#{self.tab}_results {selector}")

    def generate(self) -> "Atelier":
        """Press Ctrl+Enter in the prompt, and wait until the page tells of the new job."""
        return self.begun_by(lambda: self.field("prompt").press("Control+Enter"))

    def begun_by(self, act: Callable[[], object]) -> "Atelier":
        """Do that, and wait until the page tells of a new job (a quick one may be over by then)."""
        self.page.evaluate(TELL, "atelier.job" if self.tab == "txt2img" else f"atelier.job.{self.tab}")
        act()
        self.page.wait_for_function("window.told")
        return self

    def running(self) -> "Atelier":
        """Wait until this page's job is at work."""
        expect(self.page.locator("body")).to_have_attribute("data-atelier", "running")
        return self

    def finished(self) -> "Atelier":
        """Wait until this page's job is over."""
        expect(self.page.locator("body")).to_have_attribute("data-atelier", "idle")
        return self

    def interrupt_if_running(self) -> None:
        """Leave nothing at work behind."""
        if self.page.locator("body[data-atelier=running]").count():
            for _ in range(2):  # the first may only ask for an end after the picture in work
                self.page.evaluate("fetch('/sdapi/v1/interrupt', { method: 'POST' }).then((answer) => answer.text())")
            self.finished()

    def pictures(self, count: int) -> list[str]:
        """Wait for that many finished pictures; their addresses, in order."""
        expect(self.find(".thumbnail:not(.live) img")).to_have_count(count)
        return [image.get_attribute("src") or "" for image in self.find(".thumbnail:not(.live) img").all()]

    def at_least(self, count: int) -> "Atelier":
        """Wait for so many finished pictures or more (two at least: a single one has no thumbnail)."""
        self.find(".thumbnail:not(.live)").nth(count - 1).wait_for()
        return self

    def large(self) -> str:
        """The address of the finished picture that is shown large, once it has arrived."""
        expect(self.find(".stage img")).to_have_attribute("src", re.compile("/atelier/images/"))
        self.page.wait_for_function(f"document.querySelector('#{self.tab}_results .stage img').naturalWidth > 0")
        return self.find(".stage img").get_attribute("src") or ""
