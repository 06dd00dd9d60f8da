"""The first start in a browser: what is told, a picture meanwhile, a folder taken over; put away for good, shown again when asked."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.page import Atelier
from tests.browser.test_axe import AXE, FOUND
from tests.server import Server
from tests.tiny import write_tiny

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

UNDER = """() => ["#txt2img_generate", "#txt2img_prompt", "#txt2img_results"].filter((place) => {
  const one = document.querySelector(place).getBoundingClientRect(), over = document.querySelector(".welcome").getBoundingClientRect();
  return one.left < over.right && over.left < one.right && one.top < over.bottom && over.top < one.bottom;
})"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("welcome") / "data"
    data.mkdir()
    (data / "config.json").write_bytes(b"{")
    with Server(data, welcomed=False) as running:
        yield running


def top(page: Page) -> float:
    box = page.locator("#txt2img_generate").bounding_box()
    assert box
    return box["y"]


def test_C6_tells_what_was_damaged_until_it_is_put_away(atelier: Atelier):
    notice = atelier.page.locator(".repairs")
    expect(notice).to_contain_text('"config.json" cannot be read')
    notice.get_by_role("button", name="Put the notice away").click()
    expect(notice).to_have_count(0)
    atelier.reload()
    expect(atelier.page.locator(".welcome")).to_be_visible()
    expect(notice).to_have_count(0)


def test_greets_until_it_is_put_away(atelier: Atelier, server: Server, tmp_path):
    page, panel = atelier.page, atelier.page.locator(".welcome")
    expect(panel).to_contain_text("GPU: none is used")
    expect(panel).to_contain_text("PyTorch computes on the processor in float32.")
    expect(panel).to_contain_text("Checkpoints: 1")
    expect(panel).to_contain_text("starter.safetensors (bundled starter)")
    assert page.evaluate(UNDER) == []
    page.evaluate(AXE)
    assert page.evaluate(FOUND, [None, None]) == []
    atelier.set(prompt="a red star", steps=2).generate()
    expect(atelier.find("img").first).to_be_visible()

    folder = panel.get_by_label("Folder of an A1111, Forge or ComfyUI")
    folder.fill(str(tmp_path))
    panel.get_by_role("button", name="Use its models").click()
    expect(panel.get_by_role("status")).to_contain_text("is no A1111, Forge or ComfyUI")
    write_tiny(tmp_path / "models" / "Stable-diffusion" / "theirs.safetensors")
    folder.press("Enter")
    expect(panel.get_by_role("status")).to_contain_text("Checkpoints found there: 1.")
    with page.expect_navigation():
        panel.get_by_role("button", name="Restart now").click()
    atelier.ready()
    expect(panel).to_contain_text("theirs.safetensors")

    before = top(page)
    panel.get_by_role("button", name="Put the welcome page away").click()
    expect(panel).to_have_count(0)
    assert top(page) == before
    with page.expect_response(lambda answer: "/atelier/welcome" in answer.url) as asked:
        atelier.reload()
    assert asked.value.json() == {"show": False, "repairs": []}
    expect(panel).to_have_count(0)

    page.get_by_role("tab", name="Settings").click()
    page.get_by_role("button", name="Show the welcome page").click()
    expect(panel).to_be_visible()
    panel.get_by_role("button", name="Download a model…").click()
    expect(page.get_by_role("tab", name="Models")).to_have_attribute("aria-selected", "true")
    expect(panel).to_be_hidden()
