"""Hires fix in a real browser: what is seen, used, kept and pasted; and a picture of the gallery made larger."""

import pytest
from playwright.sync_api import expect

from modules.images.infotext import parse_infotext
from tests.browser.page import TELL, Atelier

pytestmark = [pytest.mark.browser, pytest.mark.gentle, pytest.mark.starter, pytest.mark.timeout(900)]

QUICK = {"steps": 2, "width": 64, "height": 64, "seed": 5}


def told(atelier: Atelier) -> dict[str, str]:
    atelier.finished()
    atelier.large()
    return parse_infotext(atelier.find(".infotext").inner_text()).fields


def test_hires_fix_is_used_kept_and_pasted_and_makes_pictures_larger(atelier: Atelier):
    tick = atelier.page.locator("#txt2img_enable_hr input[type=checkbox]")
    line = atelier.page.locator("#txt2img_hr_finalres")
    atelier.set(prompt="a red house", **QUICK)
    expect(atelier.field("hr_scale")).not_to_be_visible()
    first = told(atelier.generate())
    assert "Hires upscale" not in first

    atelier.page.evaluate(TELL, "atelier.job")
    atelier.find(".upscale").click()
    atelier.page.wait_for_function("window.told")
    larger = told(atelier)
    assert (larger["Seed"], larger["Size"], larger["Hires upscale"]) == (first["Seed"], "64x64", "2.0")
    assert atelier.page.evaluate("document.querySelector('.results .stage img').naturalWidth") == 128

    tick.check()
    atelier.set(hr_scale=1.5, hires_steps=1, denoising_strength=0.5)
    expect(line).to_have_text("from 64x64 to 96x96")
    expect(atelier.field("hires_prompt")).not_to_be_visible()
    fields = told(atelier.generate())
    assert (fields["Hires upscale"], fields["Hires steps"], fields["Denoising strength"]) == ("1.5", "1", "0.5")

    atelier.reload()
    expect(tick).to_be_checked()
    expect(line).to_have_text("from 64x64 to 96x96")
    own = "Hires resize: 0x128, Hires upscaler: Lanczos, Hires prompt: a blue house, Hires sampler: Euler a"
    atelier.set(prompt=f"a house\nSteps: 2, Sampler: Euler, Seed: 5, Size: 64x64, Denoising strength: 0.4, {own}")
    atelier.button("paste").click()
    expect(atelier.field("prompt")).to_have_value("a house")
    expect(atelier.field("hires_prompt")).to_have_value("a blue house")
    expect(atelier.field("hr_sampling")).to_be_visible()
    expect(line).to_have_text("from 64x64 to 128x128")
    assert atelier.value("hires_steps") == "0"
    fields = told(atelier.generate())
    assert (fields["Hires resize"], fields["Hires prompt"]) == ("0x128", "a blue house")
    assert (fields["Hires upscaler"], fields["Hires sampler"]) == ("Lanczos", "Euler a")
    assert "Hires steps" not in fields
