"""Help with writing prompts, as a user meets it."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.page import Atelier
from tests.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.starter, pytest.mark.timeout(900)]


def test_tokens_are_counted_while_typing(atelier: Atelier):
    page = atelier.page
    counter, negative = page.locator("#txt2img_token_counter"), page.locator("#txt2img_negative_token_counter")
    atelier.set(prompt="a big red cat <lora:x:1>")
    expect(counter).to_have_text("4/75")
    atelier.field("neg_prompt").fill("blurry, text")
    expect(negative).to_have_text("3/75")
    atelier.field("prompt").fill("cat " * 80)
    expect(counter).to_have_text("80/150")
    expect(counter).to_have_attribute("title", re.compile("2 chunks of 75"))
    page.get_by_role("tab", name="img2img").click()
    page.locator("#img2img_prompt textarea").fill("two words")
    expect(page.locator("#img2img_token_counter")).to_have_text("2/75")


def test_the_prompts_are_as_high_as_what_stands_beside_them(atelier: Atelier):
    for width in (1280, 1800):
        atelier.page.set_viewport_size({"width": width, "height": 800})
        prompts = atelier.page.locator("#txt2img_prompt_help").bounding_box()
        actions = atelier.page.locator("#txt2img_styles_row").bounding_box()
        assert prompts and actions
        assert abs(prompts["y"] + prompts["height"] - actions["y"] - actions["height"]) <= 8


@pytest.fixture
def words(server: Server):
    """Lists that the user dropped in."""
    models = server.data / "models"
    for folder in ("tags", "wildcards"):
        (models / folder).mkdir(parents=True, exist_ok=True)
    rows = [f"star_{i}_(game),4,{1000 - i},alias{i}" for i in range(30)]
    (models / "tags" / "mine.csv").write_text("\n".join(['starry_sky,0,5000,"night_sky"', *rows]), "utf-8")
    (models / "wildcards" / "colour.txt").write_text("red\nblue\n", "utf-8")


def test_words_are_completed_by_keys_and_by_mouse(atelier: Atelier, words):
    page, box = atelier.page, atelier.field("prompt")
    options = page.locator("#atelier-completions [role=option]")
    box.fill("")
    box.press_sequentially("a cat, night_s")
    expect(options).to_have_count(1)
    expect(options.first).to_contain_text("starry_sky")
    expect(box).to_have_attribute("aria-expanded", "true")
    box.press("Tab")
    expect(box).to_have_value("a cat, starry sky, ")
    expect(box).to_be_focused()
    box.press_sequentially("star")
    expect(options).to_have_count(10)
    expect(options.first).to_contain_text("starter-mascot")  # the embedding
    for _ in range(3):
        box.press("ArrowDown")
    expect(options.nth(2)).to_have_attribute("aria-selected", "true")
    expect(box).to_have_attribute("aria-activedescendant", options.nth(2).get_attribute("id") or "none")
    box.press("Enter")
    expect(box).to_have_value(r"a cat, starry sky, star 0 \(game\), ")
    box.press("Control+z")
    expect(box).to_have_value("a cat, starry sky, star")
    box.fill("")
    box.press_sequentially("<lora:parch")
    options.first.click()
    expect(box).to_have_value("<lora:starter-parchment:1> parchment")
    atelier.field("neg_prompt").press_sequentially("__col")
    options.first.click()
    expect(atelier.field("neg_prompt")).to_have_value("__colour__")
    atelier.reload()
    assert atelier.value("prompt") == "<lora:starter-parchment:1> parchment"


def test_completion_keeps_out_of_the_way_of_other_keys(atelier: Atelier, words):
    page, box = atelier.page, atelier.field("prompt")
    listed = page.locator("#atelier-completions")
    atelier.set(steps=100, width=256, height=256)
    box.fill("")
    box.press_sequentially("starr")
    expect(listed).to_be_visible()
    box.press("Enter")  # nothing is chosen: a line break
    expect(box).to_have_value("starr\n")
    box.fill("")
    box.press_sequentially("starr")
    expect(listed).to_be_visible()
    box.press("Control+ArrowUp")
    expect(box).to_have_value("(starr:1.1)")
    expect(listed).to_be_hidden()
    box.fill("")
    box.press_sequentially("starr")
    expect(listed).to_be_visible()
    atelier.generate().running()
    expect(listed).to_be_hidden()
    box.press_sequentially("y")
    expect(listed).to_be_visible()
    box.press("Escape")  # closes the list; the job goes on
    expect(listed).to_be_hidden()
    expect(page.locator("body")).to_have_attribute("data-atelier", "running")
    box.press("Escape")
    atelier.finished()


def test_the_list_of_completions_goes_with_its_word(atelier: Atelier, words):
    page, box = atelier.page, atelier.field("prompt")
    listed = page.locator("#atelier-completions")
    box.fill("")
    box.press_sequentially("starr")
    page.evaluate(
        "window.dispatchEvent(new Event('resize'))"
    )  # as a telephone's keyboard that opens while the server is asked
    expect(listed).to_be_visible()
    before = listed.bounding_box()
    page.mouse.wheel(0, 30)
    page.wait_for_function("window.scrollY === 30")
    page.wait_for_function(
        "([id, top]) => Math.abs(document.getElementById(id).getBoundingClientRect().top - top + 30) < 2",
        arg=["atelier-completions", before["y"] if before else 0],
    )
    page.mouse.wheel(0, 5000)
    expect(listed).to_be_hidden()  # so is the word


def test_what_is_odd_is_told_below_and_selected_by_a_click(atelier: Atelier):
    page, box = atelier.page, atelier.field("prompt")
    top = page.locator("#txt2img_extra_tabs").bounding_box()
    box.fill("😀 a <lora:starter-parchmant:1> (star")
    first = page.locator("#txt2img_prompt_help .first")
    expect(first).to_contain_text("never closed")
    expect(page.locator("#txt2img_prompt_help .more")).to_have_text("2 notes")
    assert page.locator("#txt2img_extra_tabs").bounding_box() == top  # nothing jumped
    first.click()
    chosen = "box => box.value.slice(box.selectionStart, box.selectionEnd)"
    assert box.evaluate(chosen) == "("
    page.locator("#txt2img_prompt_help .more").click()
    page.get_by_role("button", name="Nearest: starter-parchment").click()
    assert box.evaluate(chosen) == "<lora:starter-parchmant:1>"
    box.fill("a star")
    expect(first).to_be_hidden()
    atelier.set(width=1024, height=1024)
    expect(first).to_contain_text("show things twice")
    first.click()
    expect(atelier.field("width")).to_be_focused()


def test_submitted_prompts_come_back_from_the_history(atelier: Atelier, server: Server):
    page = atelier.page
    server.http.request("DELETE", "/atelier/prompts/history")
    for prompt, negative in (("a red fox", "blur"), ("a blue house", ""), ("a red fox", "blur")):
        atelier.set(prompt=prompt, neg_prompt=negative, steps=1, width=64, height=64)
        atelier.generate().finished()
    atelier.reload()
    panel, pairs = page.locator("#txt2img_prompt_help dialog.history"), page.locator("#txt2img_prompt_help .pair")
    page.locator("#txt2img_prompt_help .open-history").click()
    expect(pairs).to_have_count(2)
    expect(pairs.first).to_contain_text("a red fox")
    panel.get_by_role("button", name="Pin").nth(1).click()
    expect(pairs.first).to_contain_text("a blue house")
    panel.get_by_label("Search the prompt history").fill("fox")
    expect(pairs).to_have_count(1)
    panel.get_by_role("button", name="Delete").click()
    expect(pairs).to_have_count(0)
    panel.get_by_role("button", name="Undo").click()
    expect(pairs).to_have_count(1)
    atelier.field("prompt").fill("something else")
    pairs.first.click()
    expect(panel).to_be_hidden()
    assert (atelier.value("prompt"), atelier.value("neg_prompt")) == ("a red fox", "blur")
    page.locator("#txt2img_prompt_help .open-history").click()
    expect(panel).to_be_visible()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()


def test_words_of_the_builder_are_put_in_and_taken_out(atelier: Atelier, server: Server):
    page, box = atelier.page, atelier.field("prompt")
    box.fill("a watercolour of a big mushroom")
    panel = page.locator("#txt2img_prompt_help dialog.builder")
    page.locator("#txt2img_prompt_help .open-builder").click()
    word = lambda text: panel.get_by_role("button", name=text, exact=True)  # noqa: E731
    expect(word("mushroom")).to_have_attribute("aria-pressed", "true")
    word("crown").click()
    expect(box).to_have_value("a watercolour of a big mushroom, crown")
    panel.get_by_role("tab", name="place").click()
    word("in a meadow").click()
    expect(box).to_have_value("a watercolour of a big mushroom, crown, in a meadow")
    panel.get_by_role("tab", name="subject").click()
    for text, left in (
        ("crown", "a watercolour of a big mushroom, in a meadow"),
        ("mushroom", "a watercolour of a big, in a meadow"),
    ):
        word(text).click()
        expect(box).to_have_value(left)
        expect(word(text)).to_have_attribute("aria-pressed", "false")
    panel.get_by_label("negative prompt").check()
    panel.get_by_role("tab", name="quality").click()
    word("blurry").click()
    expect(atelier.field("neg_prompt")).to_have_value("blurry")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    own = server.data / "prompt-builder.yaml"
    own.write_text("pets: [cat]\nbroken: [dog\n", "utf-8")
    page.locator("#txt2img_prompt_help .open-builder").click()
    expect(panel.locator(".said")).to_contain_text('"prompt-builder.yaml" is not read, line 3')
    own.write_text("pets: [owl]\n", "utf-8")
    page.keyboard.press("Escape")
    page.locator("#txt2img_prompt_help .open-builder").click()
    expect(panel.get_by_role("tab")).to_have_text(["pets"])
    own.unlink()
