"""The tab Extras in a real browser: a picture made larger, a batch, what is missing."""

import re
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.api.test_extras import solid
from tests.browser.page import Atelier
from tests.engine.test_extras import png
from tests.server import Server
from tests.tiny import write_tiny
from tests.upscale.test_faces import write_tagger
from tests.upscale.tiny_upscalers import write_compact

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """With a tiny checkpoint and a tiny upscaler."""
    data = tmp_path_factory.mktemp("server") / "data"
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    write_compact(data / "models" / "ESRGAN", "tiny-x2.safetensors")
    write_tagger(data / "models" / "torch_deepdanbooru" / "wd")
    with Server(data) as running:
        yield running


@pytest.fixture
def extras(atelier: Atelier) -> Page:
    """The tab, open."""
    atelier.page.get_by_role("tab", name="Extras").click()
    expect(atelier.page.locator("#extras_generate")).to_be_visible()
    return atelier.page


def drop(page: Page, elem_id: str, *names: str) -> None:
    """Choose files by the dialog that a click on the field opens."""
    with page.expect_file_chooser() as chooser:
        page.locator(f"#{elem_id} .drop .words").click()
    files = [{"name": name, "mimeType": "image/png", "buffer": png(seed=i)} for i, name in enumerate(names)]
    chooser.value.set_files(files)  # type: ignore[arg-type]
    expect(page.locator(f"#{elem_id} figure")).to_have_count(len(names))


def status(page: Page) -> Locator:
    return page.locator("#extras_results .status")


def test_a_picture_a_batch_and_a_reload(extras: Page, server: Server):
    extras.locator("#extras_generate").click()
    expect(extras.locator(".toast-body").last).to_contain_text("There is no picture to work on")
    drop(extras, "extras_image", "cat.png")
    extras.locator("#extras_upscaler_1 input").click()
    extras.get_by_role("option", name="tiny-x2").click()
    extras.locator("#extras_generate").click()
    expect(status(extras)).to_have_text(re.compile(r"^1 picture in"))
    expect(extras.locator("#extras_results .infotext")).to_have_text(
        "Postprocess upscale by: 4, Postprocess upscaler: tiny-x2"
    )
    folder = server.data / "outputs" / "extras-images"
    with Image.open(folder / "00000.png") as made:
        assert made.size == (160, 96)
    extras.get_by_role("tab", name="Batch Process").click()
    drop(extras, "extras_image_batch", "one.png", "two.png")
    extras.get_by_role("tab", name="Scale to").click()
    extras.locator("#extras_generate").click()
    expect(status(extras)).to_have_text(re.compile(r"^2 pictures in"))
    with Image.open(folder / "two.png") as made:
        assert made.size == (512, 512)
    extras.reload()
    extras.wait_for_selector("body[data-atelier]")
    extras.get_by_role("tab", name="Extras").click()
    expect(status(extras)).to_have_text(re.compile(r"^2 pictures in"))
    extras.get_by_role("tab", name="Batch from Directory").click()
    extras.locator("#extras_batch_input_dir").locator("textarea, input").first.fill("nowhere")
    extras.locator("#extras_generate").click()
    expect(extras.locator(".toast-body").last).to_contain_text("Input directory")
    expect(extras.locator(".toast-body").last).to_contain_text("does not exist")


def test_a_picture_is_described_into_the_prompt(atelier: Atelier):
    page, described = atelier.page, Atelier(atelier.page, "img2img")
    page.locator("#tab_img2img-button").click()
    page.locator("#deepbooru").click()
    expect(described.find(".notice")).to_have_text("There is no picture to describe. Drop one into the field above.")
    with page.expect_file_chooser() as chooser:
        page.locator("#img2img_image .frame").click()
    chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": solid("white")})
    expect(page.locator("#img2img_image .surface img")).to_be_visible()
    page.locator("#deepbooru").click()
    expect(described.field("prompt")).to_have_value("green, red hair, very blue \\(sky\\)")
    page.locator("#interrogate").click()
    expect(described.find(".notice")).to_contain_text("models/BLIP")
    described.reload()
    page.locator("#tab_img2img-button").click()
    expect(described.field("prompt")).to_have_value("green, red hair, very blue \\(sky\\)")
