"""The accordion of guidance techniques in a real browser."""

import pytest
from playwright.sync_api import expect

from modules.images.infotext import parse_infotext
from tests.browser.page import Atelier

pytestmark = [pytest.mark.browser, pytest.mark.gentle, pytest.mark.starter, pytest.mark.timeout(900)]

QUICK = {"steps": 2, "width": 64, "height": 64, "seed": 5}


def tick(atelier: Atelier, name: str):
    return atelier.page.locator(f"#txt2img_{name} input[type=checkbox]")


def drawn(atelier: Atelier) -> dict[str, str]:
    atelier.generate().finished()
    atelier.large()
    return parse_infotext(atelier.find(".infotext").inner_text()).fields


def test_techniques_are_used_kept_and_pasted(atelier: Atelier):
    atelier.set(prompt="a red house", **QUICK)
    expect(tick(atelier, "freeu_enabled")).not_to_be_visible()
    assert not {"freeu_enabled", "Tiling"} & drawn(atelier).keys()

    atelier.page.locator("#txt2img_guidance > button").click()
    tick(atelier, "tiling").check()
    tick(atelier, "freeu_enabled").check()
    atelier.set(freeu_b1=1.3, cfg_rescale=0.5)
    fields = drawn(atelier)
    assert (fields["freeu_enabled"], fields["freeu_b1"], fields["freeu_b2"]) == ("True", "1.3", "1.02")
    assert (fields["Tiling"], fields["CFG Rescale phi"]) == ("True", "0.5")
    assert "pag_enabled" not in fields

    atelier.reload()
    assert drawn(atelier).items() >= {"freeu_b1": "1.3", "Tiling": "True"}.items()

    line = "Steps: 2, Sampler: Euler, Seed: 5, Size: 64x64, pag_enabled: True, pag_scale: 2.5"
    atelier.set(prompt=f"a blue house\n{line}")
    atelier.button("paste").click()
    expect(atelier.field("prompt")).to_have_value("a blue house")
    fields = drawn(atelier)
    assert (fields["pag_enabled"], fields["pag_scale"]) == ("True", "2.5")
    assert not {"freeu_enabled", "Tiling", "CFG Rescale phi"} & fields.keys()
