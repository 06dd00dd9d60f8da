"""Getting a model on the tab Models, in a real browser, from local sites."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from modules.core.paths import ROOT
from tests.browser.page import Atelier
from tests.library.servers import Site, model, serve_civitai, serve_repo, site
from tests.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

REPO = "ann/fine-model"


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Iterator[Site]:
    with site() as running:
        folder = tmp_path_factory.mktemp("shop")
        serve_repo(running, REPO, {"fine.safetensors": model(folder), "notes.txt": b""})
        serve_repo(
            running, "ann/gated", {"gated.safetensors": model(folder, name="gated")}, token="hf_good", gated=True
        )
        serve_civitai(running, model(folder, name="pony"))
        running.file("/slow.safetensors", model(folder, name="slow", size=2_000_000), pause=0.2)
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory, shop) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("server") / "data"
    with Server(data, "--allow-local-downloads") as running:
        running.post("/sdapi/v1/options", {"huggingface_endpoint": shop.url, "civitai_endpoint": shop.url})
        yield running


@pytest.fixture
def models(atelier: Atelier) -> Page:
    """The tab, open."""
    atelier.page.get_by_role("tab", name="Models").click()
    expect(atelier.page.locator(".models .starters .entry").first).to_be_visible()
    return atelier.page


def find(page: Page, site: str, words: str) -> None:
    page.get_by_label("Where", exact=True).select_option(site)
    page.locator(".models .find input").fill(words)
    page.locator(".models .find form button").click()


def in_list(page: Page, name: str):
    return page.locator(".models .download").filter(has_text=name)


def test_a_checkpoint_is_found_fetched_and_in_the_menu(models: Page, server: Server):
    find(models, "huggingface", "fine")
    models.get_by_role("button", name=f"Files of {REPO}").click()
    models.get_by_role("button", name="Download fine.safetensors").click()
    expect(in_list(models, "fine.safetensors").locator(".words")).to_have_text(re.compile("Checkpoint · .* · done"))
    models.get_by_label("Stable Diffusion checkpoint").first.click()
    expect(models.get_by_role("option").filter(has_text="fine.safetensors")).to_be_visible()
    models.keyboard.press("Escape")
    assert (server.data / "models" / "Stable-diffusion" / "fine.safetensors").is_file()
    models.get_by_role("button", name="Download fine.safetensors").click()
    expect(models.locator(".find .file .notice")).to_have_text(
        'You have it already: "fine.safetensors" lies in "Stable-diffusion".'
    )


def test_pause_resume_and_cancel(models: Page, shop: Site):
    find(models, "url", f"{shop.url}/slow.safetensors?token=secret")
    row = in_list(models, "slow.safetensors")
    expect(row).to_have_attribute("data-state", "running")
    row.get_by_role("button", name="Pause").click()
    expect(row.locator(".words")).to_contain_text("paused")
    models.reload()
    models.get_by_role("tab", name="Models").click()
    row.get_by_role("button", name="Resume").click()
    expect(row).to_have_attribute("data-state", "running")
    row.get_by_role("button", name="Cancel").click()
    expect(row.locator(".words")).to_contain_text("cancelled")
    models.get_by_role("button", name="Clear finished").click()
    expect(row).to_have_count(0)


def test_failures_are_sentences(models: Page, shop: Site):
    notice = models.locator(".find > .notice")
    find(models, "url", "not an address")
    expect(notice).to_contain_text("must be a web address")
    find(models, "url", f"{shop.url}/nothing.safetensors")
    expect(notice).to_contain_text("has nothing at")
    find(models, "huggingface", "ann/nothing")
    expect(notice).to_contain_text("Hugging Face has nothing at")
    find(models, "huggingface", "ann/gated")
    models.get_by_role("button", name="Files of ann/gated").click()
    models.get_by_role("button", name="Download gated.safetensors").click()
    row = in_list(models, "gated.safetensors")
    expect(row.locator(".said")).to_contain_text("This model is gated")
    models.locator(".tokens summary").click()
    field = models.get_by_label("Hugging Face token")
    field.fill("hf_good")
    field.press("Enter")
    expect(models.locator(".tokens .notice")).to_have_text(f"Kept. It is sent to {shop.url} alone.")
    row.get_by_role("button", name="Retry").click()
    expect(row.locator(".words")).to_contain_text("done")
    assert "hf_good" not in models.content()


def test_a_lora_of_civitai(models: Page, server: Server):
    find(models, "civitai", "pony")
    models.get_by_role("button", name="Files of Pony").click()
    kind = models.get_by_label("Kind of v1: pony.safetensors")
    expect(kind).to_have_value("Lora")
    models.get_by_role("button", name="Download v1: pony.safetensors").click()
    expect(in_list(models, "pony.safetensors").locator(".words")).to_contain_text("done")
    assert (server.data / "models" / "Lora" / "pony.civitai.info").is_file()


def test_X6_what_other_sites_answer_is_text(models: Page, shop: Site):
    """Names, people, addresses and sizes of models that are looked for: of markup and scripts nothing becomes any."""
    bad = '"><img src=x onerror=window.__xss=1>'
    file = {
        "id": 9,
        "name": f"{bad}.safetensors",
        "type": bad,
        "downloadUrl": "javascript:window.__xss=1",
        "sizeKB": bad,
    }
    version = {
        "id": 90,
        "name": bad,
        "baseModel": bad,
        "files": [file],
        "images": [{"url": "javascript:window.__xss=1"}],
    }
    item = {"id": 9, "name": bad, "type": bad, "creator": {"username": bad}, "stats": {"downloadCount": 1}}
    repository = {"id": "ann/<img src=x>", "tags": [f"license:{bad}"], "author": bad, "downloads": 1, "gated": bad}
    before = {path: shop.served[path] for path in ("/api/v1/models", "/api/models")}
    shop.json("/api/v1/models", {"items": [{**item, "modelVersions": [version]}], "metadata": {}})
    shop.json("/api/models", [repository])
    try:
        find(models, "civitai", "bad")
        models.locator(".find .result button").first.click()
        expect(models.locator(".find .result")).to_contain_text(bad)
        expect(models.locator(".find .file .name")).to_contain_text("img src=x")
        find(models, "huggingface", "bad")
        expect(models.locator(".find")).to_contain_text(re.compile("ann/<img src=x>|Nothing was found"))
        assert models.evaluate("window.__xss") is None
        assert models.locator("img[src=x], a[href^='javascript:']").count() == 0
    finally:
        shop.served.update(before)


def test_where_nothing_may_be_fetched_that_is_said(models: Page):
    def closed(route):
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('"fetching": "yes"', '"fetching": "no"'))

    said = models.locator(".models .unfetched")
    expect(said).to_be_hidden()
    models.route("**/atelier/localization.js", closed)
    models.reload()
    models.get_by_role("tab", name="Models").click()
    expect(said).to_contain_text("models are not fetched from here")
    for part in (".find", ".start", ".tokens"):
        expect(models.locator(f".models {part}")).to_be_hidden()


def test_it_fits_a_telephone(models: Page):
    models.set_viewport_size({"width": 390, "height": 800})
    wide = "[...document.querySelectorAll('.models *')].filter(e => e.getBoundingClientRect().right > 391).map(e => e.className)"
    assert models.evaluate(wide) == []
    assert models.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_bundled_model_is_not_touched():
    assert not list((ROOT / "models").rglob("*.part"))
