"""The tab Checkpoint Merger in a real browser: a merge, a LoRA, what is wrong, a reload."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from modules.library.header import read_header
from tests.browser.page import Atelier
from tests.server import Server
from tests.tiny import write_tiny

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """With three tiny checkpoints, tiny-a first."""
    data = tmp_path_factory.mktemp("server") / "data"
    for seed, name in enumerate("abc"):
        write_tiny(data / "models" / "Stable-diffusion" / f"tiny-{name}.safetensors", seed=seed, metadata={"of": name})
    with Server(data, "--ckpt", "tiny-a") as running:
        yield running


@pytest.fixture
def merger(atelier: Atelier) -> Page:
    """The tab, open, its menus filled."""
    atelier.page.get_by_role("tab", name="Checkpoint Merger").click()
    expect(box(atelier.page, "modelmerger_primary_model_name")).to_be_visible()
    return atelier.page


def box(page: Page, elem_id: str) -> Locator:
    return page.locator(f"#{elem_id}").locator("textarea, input:not([type=range])").first


def choose(page: Page, elem_id: str, text: str) -> None:
    box(page, elem_id).click()
    page.get_by_role("option").filter(has_text=text).first.click()


def outcome(page: Page) -> Locator:
    return page.locator("#modelmerger_result")


def names(server: Server) -> list[str]:
    return sorted(path.name for path in (server.data / "models" / "Stable-diffusion").iterdir())


def test_a_merge_is_made_listed_and_found_again(merger: Page, server: Server):
    choose(merger, "modelmerger_primary_model_name", "tiny-a")
    choose(merger, "modelmerger_secondary_model_name", "tiny-b")
    box(merger, "modelmerger_custom_name").fill("mine")
    box(merger, "modelmerger_interp_amount").fill("0.5")
    box(merger, "modelmerger_interp_amount").blur()
    merger.locator("#modelmerger_merge").click()
    expect(outcome(merger)).to_contain_text(re.compile(r'^Checkpoint saved to ".*mine\.safetensors"\. It took'))
    expect(merger.locator(".merging .facts")).to_have_text(re.compile(r"^sha256 [0-9a-f]{64}$"))
    recipe = read_header(server.data / "models" / "Stable-diffusion" / "mine.safetensors").metadata["sd_merge_recipe"]
    assert '"multiplier": 0.5' in recipe
    merger.reload()
    merger.wait_for_selector("body[data-atelier]")
    merger.get_by_role("tab", name="Checkpoint Merger").click()
    expect(outcome(merger)).to_contain_text("mine.safetensors")
    choose(merger, "modelmerger_tertiary_model_name", "mine.safetensors [")
    before = names(server)
    merger.locator("#modelmerger_custom_name textarea, #modelmerger_custom_name input").first.fill("mine")
    choose(merger, "modelmerger_primary_model_name", "tiny-a")
    choose(merger, "modelmerger_secondary_model_name", "tiny-b")
    merger.locator("#modelmerger_merge").click()
    expect(merger.locator(".toast-body").last).to_contain_text('"mine.safetensors" is there already')
    assert names(server) == before


def test_the_methods_words_and_what_they_need(merger: Page, server: Server):
    words = merger.locator("#modelmerger_interp_description")
    expect(words).to_contain_text("A * (1 - M) + B * M")
    merger.get_by_label("Add difference").check()
    expect(words).to_contain_text("A + (B - C) * M")
    choose(merger, "modelmerger_primary_model_name", "tiny-a")
    choose(merger, "modelmerger_secondary_model_name", "tiny-b")
    before = names(server)
    merger.locator("#modelmerger_merge").click()
    expect(merger.locator(".toast-body").last).to_contain_text(
        "Tertiary model (C) is empty: Add difference needs model C. Choose one."
    )
    merger.get_by_label("No interpolation").check()
    box(merger, "modelmerger_discard_weights").fill("(")
    merger.locator("#modelmerger_merge").click()
    expect(merger.locator(".toast-body").last).to_contain_text("Discard weights with matching name is")
    box(merger, "modelmerger_discard_weights").fill(".")
    box(merger, "modelmerger_custom_name").fill("none")
    merger.locator("#modelmerger_merge").click()
    expect(merger.locator(".merging .notice")).to_have_text(
        "Discard weights with matching name matches every weight: nothing would be left."
    )
    assert names(server) == before


def test_metadata_is_read_and_goes_with_ckpt(merger: Page):
    merger.get_by_text("Metadata", exact=True).click()
    choose(merger, "modelmerger_primary_model_name", "tiny-a")
    choose(merger, "modelmerger_secondary_model_name", "tiny-b")
    merger.locator("#modelmerger_read_metadata").click()
    expect(box(merger, "modelmerger_metadata_json")).to_have_value(re.compile(r'"of": "b"'))
    merger.locator("#modelmerger_checkpoint_format").get_by_label("ckpt").check()
    expect(merger.locator("#modelmerger_metadata")).to_be_hidden()
    merger.locator("#modelmerger_checkpoint_format").get_by_label("safetensors").check()
    expect(merger.locator("#modelmerger_metadata")).to_be_visible()


def test_a_lora_is_extracted_and_merged(merger: Page, server: Server):
    merger.get_by_text("Extract a LoRA from two checkpoints").click()
    choose(merger, "modelmerger_tuned_model_name", "tiny-c")
    choose(merger, "modelmerger_base_model_name", "tiny-a")
    box(merger, "modelmerger_extract_rank").fill("4")
    merger.locator("#modelmerger_extract_button").click()
    expect(outcome(merger)).to_contain_text("tiny-c - tiny-a rank 4.safetensors")
    expect(merger.locator(".merging .notice")).to_contain_text("other weights differ too")
    merger.get_by_role("button", name="Merge LoRAs").first.click()
    merger.locator("#refresh_checkpoint_A").click()
    choose(merger, "modelmerger_lora_names", "tiny-c - tiny-a rank 4")
    merger.keyboard.press("Escape")
    choose(merger, "modelmerger_lora_checkpoint", "tiny-b")
    box(merger, "modelmerger_lora_weights").fill("half")
    merger.locator("#modelmerger_lora_button").click()
    expect(merger.locator(".toast-body").last).to_contain_text('Weights, between commas (1 each) is "half"')
    box(merger, "modelmerger_lora_weights").fill("0.5")
    merger.locator("#modelmerger_lora_button").click()
    expect(outcome(merger)).to_contain_text("tiny-b + 0.5(tiny-c - tiny-a rank 4).safetensors")


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off(width: int, scheme: str, merger: Page):
    merger.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    merger.set_viewport_size({"width": width, "height": 900})
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert merger.evaluate(overflow) <= 0
    box_of = merger.locator("#modelmerger_merge").bounding_box()
    assert box_of is not None
    assert box_of["x"] >= 0
    assert box_of["x"] + box_of["width"] <= width
