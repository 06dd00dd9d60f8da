"""The page in a real browser, over a real server with a real engine."""

import colorsys
import io
import json
import re

import numpy as np
import psutil
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, expect

from modules.images.infotext import parse_infotext
from tests.browser.page import Atelier
from tests.jobs.helpers import write_checkpoint
from tests.server import Server, until

pytestmark = [pytest.mark.browser, pytest.mark.starter, pytest.mark.timeout(900)]

QUICK = {"steps": 2, "width": 64, "height": 64}
LONG = {**QUICK, "steps": 60, "batch_count": 100}


def hues(picture: Image.Image) -> list[int]:
    """How many saturated pixels have each hue, in twelve sectors; the first is red."""
    found = [0] * 12
    pixels = np.asarray(picture.convert("RGB").resize((64, 64))).reshape(-1, 3)
    for red, green, blue in pixels / 255:
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        if saturation > 0.55 and value > 0.45:
            found[round(hue * 12) % 12] += 1
    return found


def test_a_red_thing_comes_out_red(atelier: Atelier, server: Server):
    atelier.set(prompt="a big red heart in the snow", steps=20, batch_count=3, seed=7).generate()
    words = atelier.find(".progress .words")
    expect(words).to_have_text(re.compile(r"Step [1-9]\d*/20 · batch \d+/3 · \d+ %"))
    expect(atelier.page).to_have_title(re.compile(r"^\[\d+%.*\] Atelier$"))
    seen = atelier.find(".progress").get_attribute("aria-valuenow")
    expect(atelier.find(".progress")).not_to_have_attribute("aria-valuenow", seen or "")
    atelier.finished()
    expect(atelier.find(".status")).to_have_text(re.compile(r"^3 pictures in "))
    expect(atelier.page).to_have_title("Atelier")

    data = server.get(atelier.large()).content
    shown = Image.open(io.BytesIO(data))
    infotext = atelier.find(".infotext").inner_text()
    parsed = parse_infotext(infotext)
    assert (parsed.prompt, parsed.fields["Seed"], parsed.fields["Steps"]) == ("a big red heart in the snow", "7", "20")
    (saved,) = [path for path in server.pictures() if path.read_bytes() == data]
    with Image.open(saved) as kept:
        assert kept.info["parameters"] == shown.info["parameters"] == infotext
    assert "txt2img-images" in saved.parts

    width, height = shown.size
    thing = hues(shown.crop((width // 4, height // 4, width * 3 // 4, height * 3 // 4)))
    around = hues(shown.crop((0, 0, width, height // 8)))
    assert max(range(12), key=thing.__getitem__) == 0, thing
    assert thing[0] > 0.15 * 64 * 64
    assert around[0] < 0.05 * 64 * 64


def test_X11_a_reload_finds_the_same_job_and_its_pictures(atelier: Atelier):
    atelier.set(prompt="a small blue house", **LONG).generate().at_least(2)
    before = atelier.page.evaluate("sessionStorage.getItem('atelier.job')")
    first = atelier.find(".thumbnail:not(.live) img").first.get_attribute("src")
    atelier.reload().running()
    assert atelier.page.evaluate("sessionStorage.getItem('atelier.job')") == before
    kept = {"prompt": "a small blue house", "steps": "60", "batch_count": "100", "width": "64"}
    assert {name: atelier.value(name) for name in kept} == kept
    atelier.at_least(2)
    assert atelier.find(".thumbnail:not(.live) img").first.get_attribute("src") == first
    atelier.at_least(atelier.find(".thumbnail:not(.live)").count() + 1)


def test_X13_escape_stops_and_keeps_what_is_finished(atelier: Atelier, server: Server):
    atelier.set(**LONG).generate()
    expect(atelier.button("interrupt")).to_be_visible()
    expect(atelier.button("generate")).to_be_hidden()
    atelier.at_least(2)
    job = atelier.page.evaluate("sessionStorage.getItem('atelier.job')")
    atelier.page.keyboard.press("Escape")
    atelier.finished()
    expect(atelier.button("generate")).to_be_visible()
    expect(atelier.find(".status")).to_have_text(re.compile(r"^Interrupted: \d+ pictures in "))
    report = server.get(f"/atelier/jobs/{job}").json()
    assert report["state"] == "stopped"
    assert 2 <= len(report["images"]) < 1000
    assert not any(image["incomplete"] for image in report["images"])
    atelier.reload()
    atelier.pictures(len(report["images"]))


def test_interrupt_lets_the_picture_in_work_be_finished(atelier: Atelier, server: Server):
    atelier.set(steps=50, width=512, height=512, batch_count=3).generate()
    expect(atelier.find(".words")).to_have_text(re.compile(r"Step [1-9]\d*/50 · batch 1/3"))
    atelier.button("interrupt").click()
    expect(atelier.find(".status")).to_have_text(re.compile("^Generation will stop after finishing this image, click"))
    expect(atelier.find(".words")).to_have_text(re.compile(r"Step \d+/50 · batch 1/3"))
    atelier.button("interrupt").click()
    atelier.finished()
    expect(atelier.find(".status")).to_have_text(re.compile(r"^Interrupted: 1 picture in "))


def test_skip_goes_on_to_the_next_batch(atelier: Atelier):
    atelier.set(steps=150, batch_count=2, prompt="a green cup").generate()
    expect(atelier.find(".words")).to_have_text(re.compile(r"Step [1-9]\d*/150 · batch 1/2"))
    atelier.page.keyboard.press("Alt+Enter")
    expect(atelier.find(".words")).to_have_text(re.compile(r"batch 2/2"))


def test_a_live_preview_is_shown(atelier: Atelier):
    atelier.set(width=64, height=64, steps=40, batch_count=100).generate()
    preview = atelier.find(".stage.live img")
    expect(preview).to_have_attribute("src", re.compile(r"/atelier/preview/[0-9a-f]{32}\?n=\d+"))
    first = preview.get_attribute("src")
    expect(preview).not_to_have_attribute("src", first or "")
    assert preview.evaluate("image => image.naturalWidth") > 0


def test_X7_a_wrong_value_is_told_and_the_page_goes_on(atelier: Atelier):
    atelier.set(width=130)
    atelier.button("generate").click()
    expect(atelier.page.locator(".toast-body")).to_contain_text("Width is 130: it must be a multiple of 8.")
    atelier.set(width=64, height=64, seed="<img src=x onerror=alert(1)>")
    atelier.button("generate").click()
    expect(atelier.page.locator(".toast-body")).to_contain_text('Seed is "<img src=x onerror=alert(1)>": it must be a')
    assert atelier.page.locator(".toast-body img").count() == 0
    atelier.set(seed=5, steps=2, prompt="<img src=x onerror=alert(1)>").generate().finished()
    expect(atelier.find(".infotext")).to_contain_text("<img src=x onerror=alert(1)>\nSteps: 2")
    assert atelier.page.locator("img[src=x]").count() == 0


def test_two_quick_presses_are_one_job(atelier: Atelier, server: Server):
    before = len(server.get("/atelier/jobs").json()["jobs"])
    atelier.set(**QUICK, batch_count=40)
    atelier.page.evaluate("for (let i = 0; i < 5; i++) document.getElementById('txt2img_generate').click()")
    atelier.running()
    atelier.page.evaluate("document.getElementById('txt2img_generate').click()")
    atelier.field("prompt").press("Control+Enter")
    atelier.finished()
    assert len(server.get("/atelier/jobs").json()["jobs"]) == before + 1


def test_X14_another_tab_queues_and_a_closed_one_leaves_its_job(
    atelier: Atelier, context: BrowserContext, server: Server
):
    atelier.set(prompt="first", **LONG).generate().at_least(2)
    first = atelier.page.evaluate("sessionStorage.getItem('atelier.job')")
    other = Atelier(context.new_page()).open(server.url)
    expect(other.button("generate")).to_be_visible()  # it has not taken over the first tab's job
    assert other.value("prompt") == "first"  # but starts from the values used last
    other.set(prompt="second", batch_count=1, steps=2).generate()
    expect(other.find(".words")).to_have_text("In queue: 1 before this one")
    expect(other.button("skip")).to_be_hidden()
    other.page.keyboard.press("Escape")
    other.finished()
    expect(other.find(".notice")).to_have_text("Taken out of the queue.")
    other.page.close()
    assert server.get(f"/atelier/jobs/{first}").json()["state"] == "running"


def test_X12_a_new_tab_takes_up_the_job_of_a_closed_one(atelier: Atelier, context: BrowserContext, server: Server):
    atelier.set(prompt="left alone", **LONG).generate().at_least(2)
    job = atelier.page.evaluate("sessionStorage.getItem('atelier.job')")
    atelier.page.close()
    again = Atelier(context.new_page()).open(server.url).running().at_least(2)
    assert again.page.evaluate("sessionStorage.getItem('atelier.job')") == job


def test_the_gallery_is_walked_by_keys(atelier: Atelier):
    atelier.set(**QUICK, batch_count=3, seed=40, prompt="a yellow star").generate().finished()
    pictures = atelier.pictures(3)
    assert atelier.large() == pictures[0]
    atelier.find(".stage").focus()
    for key, index in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowRight", 0), ("ArrowLeft", 2)):
        atelier.page.keyboard.press(key)
        assert atelier.large() == pictures[index]
        assert f"Seed: {40 + index}," in atelier.find(".infotext").inner_text()
    assert atelier.find(".stage img").get_attribute("alt") == "Picture 3 of 3: a yellow star (seed 42)"
    assert (atelier.find(".download").get_attribute("href") or "").startswith(pictures[2])
    atelier.page.keyboard.press("Enter")
    large = atelier.page.locator("dialog.atelier-large")
    expect(large).to_be_visible()
    atelier.page.keyboard.press("ArrowLeft")
    expect(large.locator("img")).to_have_attribute("src", pictures[1])
    atelier.page.keyboard.press("Escape")
    expect(large).to_be_hidden()
    atelier.button("reuse_seed").click()
    expect(atelier.field("seed")).to_have_value("41")
    atelier.button("random_seed").click()
    expect(atelier.field("seed")).to_have_value("-1")


def test_infotext_is_pasted_and_sizes_are_swapped(atelier: Atelier):
    text = (
        "a cat\nNegative prompt: dog\nSteps: 9, Sampler: Euler a, CFG scale: 4.5, Distilled CFG Scale: 2.5, "
        "Seed: 9007199254740993, Size: 256x64"
    )
    atelier.set(prompt=text)
    atelier.button("paste").click()
    wanted = {
        "prompt": "a cat",
        "neg_prompt": "dog",
        "steps": "9",
        "sampling": "Euler a",
        "cfg_scale": "4.5",
        "distilled_cfg_scale": "2.5",
    }
    for name, value in {**wanted, "seed": "9007199254740993", "width": "256", "height": "64"}.items():
        expect(atelier.field(name)).to_have_value(value)
    atelier.button("res_switch_btn").click()
    expect(atelier.field("width")).to_have_value("64")
    expect(atelier.field("height")).to_have_value("256")
    atelier.remembers("width", 64).remembers("height", 256).reload()
    for name, value in {**wanted, "seed": "9007199254740993", "width": "64", "height": "256"}.items():
        expect(atelier.field(name)).to_have_value(value)


def test_the_form_follows_the_checkpoint_until_it_is_touched(atelier: Atelier, server: Server):
    defaults = {"width": 256, "height": 192, "steps": 33, "cfg_scale": 2.5, "prompt": "an odd prompt"}
    odd = server.data / "models" / "Stable-diffusion" / "zz <b>odd.safetensors"
    write_checkpoint(odd, {"atelier.defaults": json.dumps(defaults)})
    atelier.page.locator("#refresh_sd_model_checkpoint").click()
    atelier.set(steps=5, prompt="")
    atelier.choose("zz <b>odd.safetensors")
    for name, value in {"width": "256", "height": "192", "cfg_scale": "2.5", "steps": "5", "prompt": ""}.items():
        expect(atelier.field(name)).to_have_value(value)
    atelier.button("generate").click()
    expect(atelier.find(".notice")).to_contain_text('"zz <b>odd.safetensors" is of a kind that is not known here')
    expect(atelier.button("generate")).to_be_visible()
    atelier.reload()
    expect(atelier.page.get_by_label("Stable Diffusion checkpoint").first).to_have_value(re.compile("^zz <b>odd"))
    odd.unlink()
    atelier.reload()
    expect(atelier.page.get_by_label("Stable Diffusion checkpoint").first).not_to_have_value(re.compile("odd"))
    assert atelier.value("width") != "256"
    assert (atelier.value("steps"), atelier.value("prompt")) == ("5", "")


def test_an_answer_that_comes_late_replaces_nothing_that_was_typed(atelier: Atelier):
    late = """async () => {
      const { Tab } = await import("/atelier/page/tab.js");
      const tab = new Tab("txt2img");
      tab.memory(); // asked for before the prompt is typed
      tab.touch({ prompt: "typed" });
      tab.memory(); // and once more, before the first answer is here
      return tab.apply(["prompt", "width"], '{"prompt": "of before", "width": 256}', ["typed", 64]);
    }"""
    assert atelier.page.evaluate(late) == [{"__type__": "update"}, 256]  # the prompt stays as it is


def test_X13_a_killed_engine_comes_back_and_the_picture_comes(atelier: Atelier, server: Server):
    atelier.set(**{**QUICK, "steps": 40}, batch_count=8, prompt="a red apple").generate().at_least(2)
    first = atelier.find(".thumbnail:not(.live) img").first.get_attribute("src")
    killed = server.kill_engine()
    until(lambda: not psutil.pid_exists(killed), 30)
    expect(atelier.find(".words")).to_have_text(re.compile("engine"))
    atelier.finished()
    assert atelier.pictures(8)[0] == first
    expect(atelier.find(".status")).to_contain_text("The engine had to be started again on the way.")


def test_X15_a_restarted_server_is_found_again(atelier: Atelier, server: Server):
    atelier.set(prompt="still here", **LONG).generate().at_least(2)
    server.stop()
    expect(atelier.find(".notice")).to_contain_text("The server does not answer.")
    server.start()
    expect(atelier.find(".notice")).to_be_hidden()
    count = atelier.at_least(2).find(".thumbnail:not(.live)").count()
    atelier.at_least(count + 1)
    assert atelier.value("prompt") == "still here"


def test_nothing_is_cut_off(atelier: Atelier):
    for width in (400, 1280):
        atelier.page.set_viewport_size({"width": width, "height": 800})
        atelier.reload()
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert atelier.page.evaluate(overflow) <= 0
        for name in ("generate", "paste", "random_seed", "reuse_seed", "res_switch_btn"):
            box = atelier.button(name).bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


SERIES = """async () => {
  const { followAll } = await import(new URL("atelier/page/series.js", document.baseURI));
  const { shown } = await import(new URL("atelier/page/shown.js", document.baseURI));
  const before = [shown.batch, window.EventSource];
  const report = { pictures: [{ position: 0 }, { position: 1 }], over: true, state: "done", took: 1, count: 2, warnings: [] };
  shown.batch = 3;
  window.EventSource = class {
    constructor() { setTimeout(() => this.onmessage({ data: JSON.stringify(report) })); }
    close() {}
  };
  const seen = [];
  const made = await new Promise((end) => {
    const update = ({ pictures, made, over }) => {
      seen.push(...pictures.map(({ position }) => position));
      if (over) end(made);
    };
    followAll(["a", "b"], { update }, () => {});
  });
  [shown.batch, window.EventSource] = before;
  return { seen, made };
}"""


def test_what_is_shown_of_jobs_is_a_setting(atelier: Atelier, server: Server):
    plain = {"show_progress_in_title": True, "do_not_show_images": False}
    before = len(server.pictures())
    server.post("/sdapi/v1/options", {name: not value for name, value in plain.items()})
    try:
        atelier.reload().set(prompt="a red heart", **{**QUICK, "steps": 20}).generate()
        expect(atelier.find(".progress .words")).to_have_text(re.compile(r"Step [1-9]\d*/20"))
        expect(atelier.page).to_have_title("Atelier")
        atelier.finished()
        expect(atelier.find(".status")).to_have_text(re.compile(r"^1 picture in "))
        expect(atelier.find(".stage")).to_have_text("Pictures appear here.")
        expect(atelier.find(".tools")).to_be_hidden()
        assert len(server.pictures()) == before + 1
    finally:
        server.post("/sdapi/v1/options", plain)
    atelier.reload()
    expect(atelier.find(".stage img")).to_be_visible()
    assert atelier.page.evaluate(SERIES) == {"seen": [0, 1, 2], "made": 4}, "three of a batch of four are shown"
