"""Markup in every text that comes from files and from other people: it is shown as it is, and does nothing."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.page import Atelier
from tests.browser.test_cards import opened
from tests.images.metadata.pictures import png
from tests.library.files import lora_shapes, write_model
from tests.server import Server, until
from tests.tiny import write_tiny

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

BAD = '"><img src=x onerror=window.__xss=1>'
SMALL = {"width": 64, "height": 64, "steps": 2}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("server") / "data"
    folder = data / "models" / "Lora"
    told = {"modelspec.title": BAD, "modelspec.description": BAD, "modelspec.author": "javascript:window.__xss=1"}
    tags = json.dumps({"set": {BAD: 5, "plain": 2}})
    write_model(
        folder / "hostile.safetensors", lora_shapes(64), {**told, "ss_tag_frequency": tags, "long": "x" * 10**6}
    )
    write_model(folder / "noted.safetensors", lora_shapes(64), {})
    (folder / "noted.json").write_text(json.dumps({"notes": BAD, "description": BAD, "activation text": BAD}))
    (folder / "noted.preview.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='window.__xss=1'/>")
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    with Server(data, "--no-hashing", "--ckpt", "tiny") as running:
        yield running


@pytest.fixture(autouse=True)
def harmless(atelier: Atelier):
    """Nothing of it ran, and nothing of it became an element."""
    yield
    atelier.page.wait_for_timeout(200)
    assert atelier.page.evaluate("window.__xss") is None
    assert atelier.page.locator("img[src=x]").count() == 0
    assert atelier.page.locator("a[href^='javascript:']").count() == 0


def test_X2_what_a_picture_says_is_text(atelier: Atelier):
    page = atelier.page
    page.get_by_role("tab", name="PNG Info").click()
    said = f"{BAD}\nNegative prompt: {BAD}\nSteps: 2, Sampler: {BAD}, Seed: 1, Size: 64x64"
    name = f"{BAD.replace('/', '')}.png"
    file = page.locator(".png-info input[type=file]")
    file.set_input_files({"name": name, "mimeType": "image/png", "buffer": png(parameters=said)})
    expect(page.locator(".png-info")).to_contain_text(BAD)
    expect(page.locator(".png-info .program")).to_contain_text("PNG, 32 x 32")


@pytest.mark.parametrize(("name", "row"), [("hostile", "X4"), ("noted", "X5")])
def test_X4_what_a_model_s_file_says_is_text(atelier: Atelier, server: Server, name, row):
    page = atelier.page
    panel = opened(page, "txt2img", "Lora")
    panel.locator(".search").fill(name)
    expect(panel.locator(".card")).to_have_count(1)
    panel.locator(".card").hover()
    panel.get_by_role("button", name="Edit of").click()
    dialog = page.locator("dialog.card-editor")
    expect(dialog).to_be_visible()
    fields = dialog.locator("textarea, input")
    text = "fields => fields.map(field => `${field.value} ${field.placeholder}`)"
    until(
        lambda: BAD in f"{dialog.inner_text()} {fields.evaluate_all(text)}".replace('\\"', '"'), 30
    )  # it is filled later
    page.keyboard.press("Escape")


def test_X5_a_preview_is_no_svg(atelier: Atelier, server: Server):
    cards = server.get("/atelier/cards/Lora").json()
    (id,) = [card["id"] for card in cards["cards"] if "noted" in json.dumps(card)]
    answer = server.get(f"/atelier/cards/{id}/thumbnail")
    assert answer.status_code == 404 and "svg" not in answer.headers["content-type"]


def test_X8_what_others_call_their_jobs_is_text(atelier: Atelier, server: Server):
    body = {**SMALL, "prompt": f"others {BAD}", "negative_prompt": BAD}
    job = server.post("/agent-scheduler/v1/queue/txt2img", body).json()["task_id"]
    server.post(f"/agent-scheduler/v1/task/{job}/rename", params={"name": BAD})
    until(lambda: server.get(f"/atelier/jobs/{job}").json()["state"] == "done", 280)
    atelier.page.get_by_role("tab", name="Queue").click()
    expect(atelier.page.locator(".queue-tab .job").first).to_contain_text(BAD)


def test_X17_progress_only_grows_and_ends(atelier: Atelier):
    """Every value that the bar shows, over jobs of several batches, and what stands there afterwards."""
    atelier.page.evaluate("""() => {
      const values = window.values = [];
      const look = () => {
        const bar = document.querySelector("#txt2img_results .progress");
        const value = bar?.checkVisibility() ? Number(bar.getAttribute("aria-valuenow")) : null;
        if (value !== values.at(-1)) values.push(value);
      };
      new MutationObserver(look).observe(document.body, { attributes: true, childList: true, subtree: true });
    }""")
    for number in range(3):
        atelier.set(**{**SMALL, "steps": 20}, batch_count=4, prompt=f"job {number}").generate().finished()
        expect(atelier.find(".status")).to_contain_text("4 pictures in")
        expect(atelier.button("generate")).to_be_visible()
    values = atelier.page.evaluate("window.values")
    runs = [[]]
    for value in values:
        runs.append([]) if value is None else runs[-1].append(value)
    runs = [run for run in runs if len(run) > 1]
    assert len(runs) >= 2, values
    assert all(run == sorted(run) for run in runs), values
