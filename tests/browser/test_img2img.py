"""The tab img2img in a real browser: sending, masking, drawing on, making larger; and what a reload keeps."""

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.page import Atelier
from tests.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.gentle, pytest.mark.starter, pytest.mark.timeout(900)]


def open_tab(page: Page) -> Atelier:
    """The tab, drawn and filled."""
    page.locator("#tab_img2img-button").click()
    expect(page.locator("#mode_img2img .modes")).to_be_visible()
    return Atelier(page, "img2img")


def pixels(server: Server, address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(server.get(address).content)).convert("RGB")).astype(float)


def stroke(page: Page, frame: Locator, *points: tuple[float, float]) -> None:
    """Draw through those places of the frame, from 0 to 1."""
    box = frame.bounding_box()
    assert box
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def kept(page: Page, slot: str) -> None:
    """Wait until the browser has kept the drawing of that sub-tab."""
    page.wait_for_function(f"JSON.parse(sessionStorage.getItem('atelier.pictures')).slots.{slot}?.drawing")


HOLD = """() => {
  const real = requestAnimationFrame, waiting = [];
  window.requestAnimationFrame = (act) => waiting.push(act);
  window.letGo = () => { window.requestAnimationFrame = real; for (const act of waiting) real(act); };
}"""
MARK = "document.querySelector('#img2img_mark :is(textarea, input)')?.value {} 'drawn'"


def test_what_is_set_while_the_tab_is_drawn_stays(atelier: Atelier):
    """Gradio writes the first values into all fields of a tab once more in a frame after it was drawn, which here comes late."""
    page, img2img = atelier.page, Atelier(atelier.page, "img2img")
    page.evaluate(HOLD)
    page.evaluate("document.querySelector('#tab_img2img-button').click()")
    page.locator("#img2img_prompt textarea").wait_for(state="attached")
    page.wait_for_function(MARK.format("==="), polling=50)
    page.evaluate(
        """() => {
          for (const [id, value] of [["prompt", "a big green cup"], ["steps", "7"]]) {
            const field = document.querySelector(`#img2img_${id} :is(textarea, input:not([type=range]))`);
            field.value = value;
            field.dispatchEvent(new Event("input", { bubbles: true }));
          }
        }"""
    )
    page.evaluate("letGo()")
    page.wait_for_function(MARK.format("!=="), polling=50)
    expect(img2img.field("prompt")).to_have_value("a big green cup")
    expect(img2img.field("steps")).to_have_value("7")


def test_a_sent_picture_is_masked_and_drawn_on_only_there(atelier: Atelier, server: Server):
    page = atelier.page
    atelier.set(prompt="a big red heart in the snow", steps=4, width=128, height=128, seed=5).generate().finished()
    original = pixels(server, atelier.large())
    page.locator("#txt2img_send_to_inpaint").click()
    editor = page.locator("#img2maskimg")
    expect(editor.locator(".surface img")).to_be_visible()
    inpaint = Atelier(page, "img2img")
    expect(inpaint.field("prompt")).to_have_value("a big red heart in the snow")
    expect(inpaint.field("seed")).to_have_value("5")

    frame = editor.locator(".frame")
    stroke(page, frame, (0.45, 0.45), (0.55, 0.45), (0.55, 0.55), (0.45, 0.55))
    stroke(page, frame, (0.2, 0.2), (0.22, 0.2))
    editor.get_by_role("button", name="Undo").click()
    kept(page, "inpaint")
    page.reload()
    inpaint = open_tab(Atelier(page, "img2img").ready().page)
    expect(editor.locator(".surface img")).to_be_visible()
    inpaint.set(steps=4, seed=9).generate().finished()
    found = pixels(server, inpaint.large())
    change = np.abs(found - original).max(axis=2)
    assert change[40:88, 40:88].max() > 20
    outside = np.ones((128, 128), bool)
    outside[24:104, 24:104] = False
    assert change[outside].max() == 0  # the stroke that was undone, and everything around, stays as it was
    page.evaluate(
        """() => {
          const send = navigator.sendBeacon.bind(navigator);
          navigator.sendBeacon = (url, body) => sessionStorage.setItem("left", `${send(url, body)} ${new URL(url).pathname}`);
        }"""
    )
    page.reload()
    assert open_tab(Atelier(page).ready().page).large()  # the result is there again
    assert page.evaluate("sessionStorage.getItem('left')") == "true /atelier/uploads/leave"


def test_a_picture_grows_by_a_gesture_and_on_the_canvas(atelier: Atelier, server: Server):
    atelier.set(prompt="a small blue house", steps=6, width=128, height=128, seed=7).generate().finished()
    page, address = atelier.page, atelier.large()
    original = pixels(server, address)
    page.locator("#txt2img_send_to_inpaint").click()
    expect(page.locator("#img2maskimg .surface img")).to_be_visible()
    larger = Atelier(page, "img2img")
    panel = page.locator("#img2img_outpaint")
    panel.locator("summary").click()
    for side in ("left", "up", "down"):
        panel.locator(f"input[value={side}]").uncheck()
    panel.locator("input[type=number]").first.fill("4")
    panel.get_by_role("button", name="Outpaint").click()
    expect(larger.find(".notice")).to_have_text("Pixels to expand is 4: it must be from 8 to 1024.")
    panel.locator("input[type=number]").first.fill("64")
    larger.begun_by(panel.get_by_role("button", name="Outpaint").click).finished()
    found = pixels(server, larger.large())
    assert found.shape == (128, 192, 3)
    assert np.array_equal(found[:, :128], original)
    steps = np.abs(np.diff(found, axis=1)).mean(axis=(0, 2))
    assert steps[127] <= 1.5 * max(np.median(steps), steps[100:127].mean())

    page.locator("#img2img_canvas_tab").click()
    canvas = page.locator("#img2img_canvas")
    larger.set(width=128, height=128)
    with page.expect_file_chooser() as chooser:
        canvas.get_by_role("button", name="Add picture").click()
    data = server.get(address).content
    chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": data})
    expect(canvas.locator(".sheet")).to_have_attribute("width", "128")
    larger.button("generate").click()
    expect(page.locator(".toast-body")).to_contain_text("Nothing in the frame is empty.")
    canvas.locator(".frame").focus()
    page.keyboard.press("Shift+ArrowRight")
    larger.generate().finished()
    expect(canvas.locator(".sheet")).to_have_attribute("width", "192")
    page.wait_for_function("!Object.keys(JSON.parse(sessionStorage.getItem('atelier.canvas')).jobs).length")
    page.reload()
    open_tab(Atelier(page).ready().page)
    expect(canvas.locator(".sheet")).to_have_attribute("width", "192")


def test_a_thing_is_selected_by_a_click_and_taken_away_again(atelier: Atelier):
    page = open_tab(atelier.page).page
    page.locator("#img2img_inpaint_tab").click()
    editor = page.locator("#img2maskimg")
    image = Image.new("RGB", (128, 128), "navy")
    image.paste("orange", (32, 32, 96, 96))
    file = io.BytesIO()
    image.save(file, "PNG")
    with page.expect_file_chooser() as chooser:
        editor.locator(".frame").click()
    chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": file.getvalue()})
    expect(editor.locator(".surface img")).to_be_visible()
    editor.get_by_role("button", name="Select", exact=True).click()
    bar = editor.locator(".bar.select")
    bar.get_by_label("Select by").select_option("Segment Anything")
    expect(bar.get_by_role("button", name="Download")).to_be_visible()
    expect(bar.locator(".hint")).to_have_text("Needs mobile_sam.pt (41 MB).")
    frame = editor.locator(".frame")

    def masked() -> float:
        """Which share of the picture is masked."""
        return page.evaluate(
            """() => { const c = document.querySelector('#img2maskimg .layer');
            const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
            let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 127; return n / (c.width * c.height); }"""
        )

    bar.get_by_label("Select by").select_option("Similar colours")
    stroke(page, frame, (0.5, 0.5))
    expect(bar).to_have_attribute("data-count", "1")
    assert masked() == 0.25
    bar.get_by_label("Select by").select_option("GrabCut")
    bar.get_by_label("What to do with it").select_option("Subtract")
    box = editor.locator(".surface img").bounding_box()
    outer = frame.bounding_box()
    assert box and outer
    corners = [
        (
            (box["x"] + share * box["width"] - outer["x"]) / outer["width"],
            (box["y"] + share * box["height"] - outer["y"]) / outer["height"],
        )
        for share in (0.2, 0.8)
    ]
    stroke(page, frame, *corners)
    expect(bar).to_have_attribute("data-count", "2")
    assert masked() < 0.02
    editor.get_by_role("button", name="Undo").click()
    assert masked() == 0.25
