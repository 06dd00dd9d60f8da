"""The cards of extra networks in a real browser: thousands of them, pressed, searched, edited; bad names are text."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.page import Atelier
from tests.library.files import lora_shapes, write_model
from tests.server import Server
from tests.tiny import write_tiny

pytestmark = [pytest.mark.browser, pytest.mark.starter, pytest.mark.timeout(900)]

BAD = "<img src=x onerror=window.__xss=1>"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("server") / "data"
    folder = data / "models" / "Lora"
    for number in range(300):
        write_model(
            folder / f"set {number % 3}" / f"style {number:03}.safetensors", lora_shapes(64), {"n": str(number)}
        )
    write_model(folder / f"{BAD}.safetensors", lora_shapes(64), {"modelspec.title": "</script><b>x"})
    (folder / "set 0" / "style 003.json").write_text(json.dumps({"activation text": "thick lines", "mine": 1}))
    write_model(data / "embeddings" / "calm.safetensors", {"emb_params": (1, 64)})
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    with Server(
        data, "--no-hashing"
    ) as running:  # a file with a bad name may be called by its hash, once that is known
        yield running


def opened(page: Page, tab: str, name: str):
    page.locator(f"#{tab}_extra_tabs").get_by_role("tab", name=name).click()
    panel = page.locator(f"#{tab}_{name.lower().replace(' ', '_')} .cards")
    expect(panel.locator(".card").first).to_be_visible()
    return panel


def test_X3_cards_fill_the_prompt_and_a_second_press_empties_it(atelier: Atelier):
    page = atelier.page
    atelier.set(prompt="a house", neg_prompt="blue")
    panel = opened(page, "txt2img", "Lora")
    expect(panel.locator(".count")).to_have_text("302")
    assert panel.locator(".card").count() < 80  # those in sight
    panel.locator(".search").fill("thick")
    expect(panel.locator(".count")).to_have_text("1 of 302")
    panel.locator(".pick").click()
    expect(atelier.field("prompt")).to_have_value("a house <lora:style 003:1> thick lines")
    expect(panel.locator(".pick")).to_have_attribute("aria-pressed", "true")
    panel.locator(".pick").click()
    expect(atelier.field("prompt")).to_have_value("a house")

    panel.locator(".search").fill("onerror")
    expect(panel.locator(".name")).to_have_text(BAD)
    panel.locator(".pick").click()
    expect(panel.locator(".notice")).to_contain_text("Rename the file.")
    panel.locator(".search").fill("")
    panel.get_by_role("button", name="set 1").click()
    expect(panel.locator(".count")).to_have_text("100 of 302")
    panel.locator(".direction").click()
    expect(panel.locator(".name").first).to_have_text("style 298")
    panel.locator(".pick").first.focus()
    page.keyboard.press("End")
    expect(panel.locator(".pick:focus .name")).to_have_text("style 001")

    field = atelier.field("neg_prompt")
    field.focus()
    opened(page, "txt2img", "Textual Inversion").locator(".pick").filter(has_text="calm").click()
    expect(field).to_have_value("blue calm")
    assert page.evaluate("window.__xss") is None
    atelier.reload()
    expect(atelier.field("neg_prompt")).to_have_value("blue calm")


def test_notes_preview_and_checkpoint(atelier: Atelier, server: Server):
    page = atelier.page
    atelier.set(prompt="a red house", steps=1, width=64, height=64)
    atelier.generate().finished()
    atelier.large()
    panel = opened(page, "txt2img", "Lora")
    panel.locator(".search").fill("style 003")
    expect(panel.locator(".count")).to_have_text("1 of 302")
    panel.locator(".card").hover()
    panel.get_by_role("button", name="Edit of style 003").click()
    dialog = page.locator("dialog.card-editor")
    dialog.get_by_label("Preferred weight").fill("0.6")
    dialog.get_by_label("Negative prompt").fill("thin")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator(".notice")).to_have_text("Saved.")
    dialog.get_by_role("button", name="Replace preview").click()
    expect(dialog.locator(".notice")).to_contain_text("is the preview now")
    page.keyboard.press("Escape")
    folder = server.data / "models" / "Lora" / "set 0"
    stored = json.loads((folder / "style 003.json").read_text("utf-8"))
    assert (stored["preferred weight"], stored["mine"]) == (0.6, 1)
    assert (folder / "style 003.png").is_file()
    expect(panel.locator(".card img")).to_be_visible()
    panel.locator(".pick").click()
    expect(atelier.field("prompt")).to_have_value("a red house <lora:style 003:0.6> thick lines")
    expect(atelier.field("neg_prompt")).to_have_value("thin")

    page.get_by_role("tab", name="img2img").click()
    chosen = opened(page, "img2img", "Checkpoints")
    chosen.locator(".card").filter(has_text="tiny").hover()
    chosen.get_by_role("button", name="Edit of tiny").click()
    expect(dialog.get_by_label("Preferred VAE")).to_have_value("Automatic")
    dialog.get_by_label("Preferred VAE").select_option("None")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator(".notice")).to_have_text("Saved.")
    page.keyboard.press("Escape")
    chosen.locator(".pick").filter(has_text="tiny").click()
    expect(page.get_by_label("Stable Diffusion checkpoint").first).to_have_value(re.compile("^tiny.safetensors"))
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
