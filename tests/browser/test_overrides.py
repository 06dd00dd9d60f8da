"""The settings that a pasted infotext overrides, in a real browser."""

import pytest
from playwright.sync_api import expect

from modules.images.infotext import parse_infotext
from tests.browser.page import Atelier

pytestmark = [pytest.mark.browser, pytest.mark.gentle, pytest.mark.starter, pytest.mark.timeout(900)]

LINE = "Steps: 2, Sampler: Euler a, Seed: 5, Size: 64x64"


def paste(atelier: Atelier, text: str) -> None:
    atelier.set(prompt=f"a red house\n{LINE}{text}")
    atelier.button("paste").click()
    expect(atelier.field("prompt")).to_have_value("a red house")


def drawn(atelier: Atelier) -> dict[str, str]:
    atelier.generate().finished()
    atelier.large()
    return parse_infotext(atelier.find(".infotext").inner_text()).fields


def test_settings_are_pasted_used_kept_and_removed(atelier: Atelier):
    row = atelier.page.locator("#txt2img_override_settings")
    chips = row.locator(".token")
    expect(row).to_be_hidden()
    paste(atelier, ", Clip skip: 2, ENSD: 31337")
    expect(chips).to_have_text(["Clip skip: 2", "ENSD: 31337"])
    assert drawn(atelier).items() >= {"Clip skip": "2", "ENSD": "31337"}.items()

    chips.filter(has_text="ENSD").locator(".token-remove").click()
    expect(chips).to_have_text(["Clip skip: 2"])
    atelier.remembers("override_settings", ["Clip skip: 2"]).reload()
    expect(chips).to_have_text(["Clip skip: 2"])
    fields = drawn(atelier)
    assert (fields["Clip skip"], "ENSD" in fields) == ("2", False)

    row.locator("input").fill("Clip")
    row.locator("input").press("Enter")
    atelier.button("generate").click()
    expect(atelier.page.locator(".toast-body")).to_contain_text('Override settings hold "Clip": it must look like')
    row.locator(".remove-all").click()
    expect(row).to_be_hidden()
    atelier.remembers("override_settings", []).reload()
    expect(row).to_be_hidden()

    paste(atelier, ", ENSD: 3")
    expect(chips).to_have_text(["ENSD: 3"])
    paste(atelier, ", Model: nowhere")
    expect(atelier.page.locator(".toast-body").last).to_contain_text('The checkpoint "nowhere" is not here: ')
    expect(row).to_be_hidden()
    assert not {"Clip skip", "ENSD"} & drawn(atelier).keys()
