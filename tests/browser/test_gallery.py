"""The tab Gallery in a real browser: many pictures scrolled, searched, chosen, deleted and brought back, compared, sent."""

import io
import re
import zipfile
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import expect

from modules.images.encode import encode_png
from tests.browser.page import Atelier
from tests.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.starter, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("server") / "data"
    folder = data / "outputs" / "txt2img-images" / "2026-01-01"
    folder.mkdir(parents=True)
    for number in range(1000):
        what = "fox" if number % 100 == 0 else "hill"
        text = f"a {what} <img src=x onerror=window.__xss=1>\nSteps: 3, Sampler: Euler a, CFG scale: 5, Seed: {number}, Size: 64x64"
        picture = encode_png(Image.new("RGB", (64, 64), (number % 256, number // 4, 90)), text)
        (folder / f"{number:05}-{number}.png").write_bytes(picture)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with Server(data) as running:
        yield running


def test_the_gallery(atelier: Atelier, server: Server):
    page = atelier.page
    page.get_by_role("tab", name="Gallery").click()
    album = page.locator(".album")
    expect(album.locator(".count")).to_have_text("1,001 pictures")
    assert album.locator(".tile").count() < 100  # those in sight
    album.locator(".scroller").evaluate("element => (element.scrollTop = element.scrollHeight)")
    expect(album.get_by_label("Picture 1001 of 1001")).to_be_visible()
    album.locator(".search").fill("fox size:64")
    expect(album.locator(".count")).to_have_text("10 pictures")

    album.get_by_label("Picture 1 of 10").click()
    detail = album.locator(".detail")
    expect(detail.locator(".infotext")).to_contain_text("a fox <img src=x onerror=window.__xss=1>")
    seed = re.search(r"Seed: (\d+)", detail.locator(".infotext").inner_text())
    detail.get_by_role("button", name="Favourite").click()
    expect(album.locator(".tile .mark")).to_have_count(1)

    album.get_by_label("Picture 1 of 10").click(modifiers=["Control"])
    album.get_by_label("Picture 3 of 10").click(modifiers=["Shift"])
    expect(album.locator(".number")).to_have_text("3 chosen")
    album.get_by_label("Board", exact=True).fill("Best")
    album.get_by_role("button", name="Add to board").click()
    expect(album.locator(".view option").nth(2)).to_have_text("Best (3)")
    with page.expect_download() as download:
        album.get_by_role("button", name="Zip without metadata").click()
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
        assert len(archive.namelist()) == 3
    album.locator(".chosen .delete").click()
    expect(album.locator(".count")).to_have_text("7 pictures")
    expect(detail).to_be_hidden()
    album.get_by_role("button", name="Undo").click()
    expect(album.locator(".count")).to_have_text("10 pictures")

    album.get_by_role("button", name="Clear choice").is_hidden()
    for number in (1, 2):
        album.get_by_label(f"Picture {number} of 10").click(modifiers=["Control"])
    album.get_by_role("button", name="Compare").click()
    slider = page.locator("dialog.album-compare input")
    slider.fill("25")
    expect(page.locator("dialog.album-compare .over")).to_have_css("clip-path", "inset(0px 0px 0px 25%)")
    page.keyboard.press("Escape")

    album.get_by_label("Picture 1 of 10").click()
    detail.get_by_role("button", name="Send to txt2img").click()
    expect(atelier.field("prompt")).to_have_value("a fox <img src=x onerror=window.__xss=1>")
    assert seed
    expect(atelier.field("seed")).to_have_value(seed[1])
    assert page.evaluate("window.__xss") is None


def test_a_new_picture_appears_and_it_fits_a_telephone(atelier: Atelier):
    page = atelier.page
    page.set_viewport_size({"width": 390, "height": 800})
    atelier.set(prompt="a unicorn", steps=1, width=64, height=64).generate().finished()
    page.evaluate(
        "[...document.querySelectorAll('#tabs [role=tab], #tabs .overflow-dropdown button')].find((one) => one.textContent.trim() === 'Gallery').click()"
    )
    album = page.locator(".album")
    album.locator(".search").fill("unicorn")
    expect(album.locator(".count")).to_have_text("1 picture")
    album.locator(".pick").click()
    expect(album.locator(".detail .infotext")).to_contain_text("a unicorn")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_L12_of_a_hundred_thousand_pictures_those_in_sight_are_drawn(atelier: Atelier):
    page, told = atelier.page, {"version": 1, "ids": [*range(1, 100_001)], "favourites": []}
    page.route(re.compile(r"/atelier/gallery(\?.*)?$"), lambda route: route.fulfill(json=told))
    page.get_by_role("tab", name="Gallery").click()
    album = page.locator(".album")
    expect(album.locator(".count")).to_have_text("100,000 pictures")
    for part in (0.5, 1):
        album.locator(".scroller").evaluate(
            "(element, part) => (element.scrollTop = part * element.scrollHeight)", part
        )
        expect(album.get_by_label(f"Picture {100_000 * part:.0f} of 100000")).to_be_visible()
        assert album.locator(".tile").count() < 100
