"""The tab PNG Info in a real browser: reading, sending, making again; and a picture dropped on a prompt."""

import base64
import re

import pytest
from playwright.sync_api import expect

from tests.browser.page import Atelier
from tests.images.metadata.pictures import png
from tests.images.metadata.test_comfyui import FLUX
from tests.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.gentle, pytest.mark.starter, pytest.mark.timeout(900)]

DROP = """(element, [name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type }));
  element.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


def drop(locator, name: str, kind: str, data: bytes) -> None:
    locator.evaluate(DROP, [name, kind, base64.b64encode(data).decode()])


def test_a_picture_is_read_sent_and_made_again(atelier: Atelier, server: Server):
    body = {
        "prompt": "a red house",
        "negative_prompt": "blue",
        "steps": 2,
        "seed": 7,
        "cfg_scale": 5.5,
        "width": 64,
        "height": 64,
    }
    picture = base64.b64decode(server.post("/sdapi/v1/txt2img", json=body).json()["images"][0])
    page = atelier.page
    page.get_by_role("tab", name="PNG Info").click()
    panel = page.locator(".png-info")
    file = panel.locator("input[type=file]")
    expect(panel.locator(".reproduce")).to_be_disabled()

    file.set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(panel.locator(".notice")).to_contain_text("image is no whole picture that can be read here.")
    drop(panel, "c.png", "image/png", png(prompt=FLUX, other="<b>bold</b>"))
    expect(panel.locator(".program")).to_have_text("Written by ComfyUI · PNG, 32 x 32")
    expect(panel.locator(".unmapped li")).to_have_count(1)
    expect(panel.locator("[data-name=other] pre")).to_have_text("<b>bold</b>")

    file.set_input_files({"name": "y.png", "mimeType": "image/png", "buffer": picture})
    expect(panel.locator(".program")).to_have_text("Written by Atelier · PNG, 64 x 64")
    panel.locator(".reproduce").click()
    expect(panel.locator(".outcome")).to_have_text("Every pixel is the same. No setting differs.")
    expect(panel.locator(".new")).to_have_attribute("src", re.compile("/atelier/images/"))

    panel.locator("[data-target=extras]").click()
    expect(page.locator("#extras_image figcaption")).to_have_text("y.png")
    page.get_by_role("tab", name="PNG Info").click()
    panel.locator("[data-target=inpaint]").click()
    drawing = Atelier(page, "img2img")
    expect(drawing.field("prompt")).to_have_value("a red house")
    expect(drawing.field("neg_prompt")).to_have_value("blue")
    expect(page.locator("body")).to_have_attribute("data-img2img-mode", "inpaint")
    page.get_by_role("tab", name="PNG Info").click()

    before = atelier.value("prompt")
    panel.locator(".none").click()
    panel.get_by_label("Negative prompt").check()
    panel.locator("[data-target=txt2img]").click()
    expect(atelier.field("neg_prompt")).to_have_value("blue")
    assert atelier.value("prompt") == before != "a red house"

    atelier.set(prompt="mine")
    drop(atelier.field("prompt"), "y.png", "image/png", picture)
    expect(atelier.field("prompt")).to_have_value("a red house")
    expect(atelier.field("seed")).to_have_value("7")
    drop(atelier.field("prompt"), "z.png", "image/png", png())
    expect(atelier.find(".notice")).to_have_text(re.compile("^This picture tells of no settings."))
    drop(atelier.field("prompt"), "z.txt", "text/plain", b"a tree\nSteps: 3, Seed: 9, Size: 64x64")
    expect(atelier.field("prompt")).to_have_value("a tree")
    atelier.remembers("seed", "9").reload()
    assert (atelier.value("prompt"), atelier.value("seed")) == ("a tree", "9")
