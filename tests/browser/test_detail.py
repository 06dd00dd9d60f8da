"""ADetailer's units in a real browser: what is set in them is sent, kept over a reload, and pasted."""

import io
import json

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.page import Atelier
from tests.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.gentle]


def opened(page: Page) -> None:
    """The first unit of txt2img, with all its groups."""
    page.locator("#txt2img_adetailer summary").first.click()
    page.locator("#txt2img_ad_tab_1").wait_for()  # it is built when it is first opened
    page.evaluate("for (const one of document.querySelectorAll('#txt2img_ad_tab_1 details')) one.open = true")


def told(page: Page) -> dict[str, object]:
    """What the form says of the units."""
    return json.loads(page.locator("#txt2img_detail textarea, #txt2img_detail input").input_value())


def test_a_units_values_outlive_a_reload_and_reach_the_job(atelier: Atelier) -> None:
    page = atelier.page
    opened(page)
    before = told(page)
    assert before["ad_model_1"] == "None" and before["ad_mask_blur_2"] == 4
    page.locator("#txt2img_ad_model_1 select").select_option("mediapipe_face_full")
    expect(page.locator("#txt2img_adetailer summary").first).to_have_text("ADetailer: 1 enabled")
    page.locator("#txt2img_ad_prompt_1 textarea").fill("a happy face")
    page.locator("#txt2img_ad_mask_blur_1 input[type=number]").fill("9")
    page.locator("#txt2img_ad_mask_blur_1 input[type=number]").blur()
    page.locator("#txt2img_ad_use_steps_1 input").check()
    page.get_by_label("Merge", exact=True).first.check()
    changed = {"ad_model_1": "mediapipe_face_full", "ad_prompt_1": "a happy face", "ad_mask_blur_1": 9}
    changed |= {"ad_use_steps_1": True, "ad_mask_merge_invert_1": "Merge"}
    assert told(page) == {**before, **changed}
    atelier.reload()
    assert told(page) == {**before, **changed}
    opened(page)
    expect(page.locator("#txt2img_ad_prompt_1 textarea")).to_have_value("a happy face")
    expect(page.locator("#txt2img_ad_mask_blur_1 input[type=number]")).to_have_value("9")
    atelier.set(prompt="a red boat", steps=1, width=64, height=64).generate().finished()
    expect(atelier.find(".infotext")).to_contain_text("ADetailer model: mediapipe_face_full")
    expect(atelier.find(".infotext")).to_contain_text("ADetailer mask blur: 9")


EARLY = """async () => {
  const { startDetail, describeDetail } = await import(new URL("atelier/page/detail.js", document.baseURI));
  const fold = Object.assign(document.createElement("details"), { open: true });
  fold.innerHTML = "<summary></summary><div class=units></div>";
  document.body.append(fold);
  startDetail("early", fold);
  await new Promise((over) => setTimeout(over, 100));
  const before = fold.querySelectorAll(".unit").length;
  describeDetail("early", { count: 2, starts: {}, groups: [], parts: {}, words: [] });
  return [before, fold.querySelectorAll(".unit").length];
}"""


def test_what_is_opened_before_it_is_told_of_is_built_then(atelier: Atelier) -> None:
    assert atelier.page.evaluate(EARLY) == [0, 2]


def test_an_infotext_sets_the_units(atelier: Atelier) -> None:
    page = atelier.page
    opened(page)
    text = "a\nSteps: 1, Sampler: Euler, Seed: 1, Size: 64x64, ADetailer model: mediapipe_face_short, ADetailer mask blur: 7"
    atelier.set(prompt=text)
    page.locator("#txt2img_paste").click()
    expect(page.locator("#txt2img_ad_model_1 select")).to_have_value("mediapipe_face_short")
    expect(page.locator("#txt2img_ad_mask_blur_1 input[type=number]")).to_have_value("7")
    found = told(page)
    assert (found["ad_model_1"], found["ad_model_2"], found["ad_mask_blur_1"]) == ("mediapipe_face_short", "None", 7)


def test_the_passes_may_be_all_that_changes_a_picture(atelier: Atelier, server: Server) -> None:
    page, img2img = atelier.page, Atelier(atelier.page, "img2img")
    atelier.set(prompt="a red boat", steps=10, width=64, height=64, seed=5).generate().finished()
    original = server.get(atelier.large()).content
    page.locator("#txt2img_send_to_img2img").click()
    expect(page.locator("#img2img_image .surface img")).to_be_visible()
    expect(img2img.field("prompt")).to_have_value("a red boat")  # what was sent is here, and replaces nothing any more
    img2img.remembers("prompt", "a red boat")
    only = page.locator("#img2img_detail_only input")
    page.locator("#img2img_adetailer summary").first.click()
    expect(only).not_to_be_checked()
    only.check()
    page.locator("#img2img_ad_model_1 select").select_option("mediapipe_face_full")
    kept = "JSON.parse(sessionStorage.getItem('atelier.form.img2img')).touched.detail"
    page.wait_for_function(
        f'{kept}.includes(\'"detail_only":true\') && {kept}.includes(\'"ad_model_1":"mediapipe_face_full"\')'
    )
    page.reload()
    img2img.ready()
    page.locator("#tab_img2img-button").click()
    page.locator("#img2img_adetailer summary").first.click()
    expect(only).to_be_checked()
    img2img.generate().finished()
    assert pixels(server.get(img2img.large()).content) == pixels(original)  # no face is in it
    only.uncheck()
    img2img.generate().finished()
    assert pixels(server.get(img2img.large()).content) != pixels(original)


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB").tobytes()
