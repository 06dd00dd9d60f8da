"""The detail pass's units as the page's one field."""

import json

import pytest

from webui.detail_form import DETAIL, ONLY, UNIT_STARTS, packed, page_fields, unpacked
from webui.form import TXT2IMG
from webui.img2img_form import IMG2IMG
from webui.parts.detail import described


def test_units_are_one_field_of_the_page():
    values = {"steps": 3, **UNIT_STARTS, "ad_prompt_2": "a hand"}
    one = packed(values)
    assert set(one) == {"steps", DETAIL} and unpacked(one) == values
    assert packed({"steps": 3}) == {"steps": 3}
    for form, more in ((TXT2IMG, set()), (IMG2IMG, {ONLY})):
        names = page_fields(form.names)
        assert names[-1] == DETAIL and not any(name.startswith("ad_") for name in names)
        assert {*names[:-1], *UNIT_STARTS, *more} == {*form.names}
        assert not more & {*names}
    assert unpacked(packed({**UNIT_STARTS, ONLY: True}))[ONLY] is True


@pytest.mark.parametrize("text", ["", "[", "[1]", "3", None, 7, '{"steps": 1, "ad_model_9": "x"}', "[" * 9000])
def test_what_are_no_units_is_passed_over(text):
    assert unpacked({"steps": 3, DETAIL: text}) == {"steps": 3}


def test_the_browser_is_told_of_every_part():
    menus = {part: ["None"] for part in ("ad_model", "ad_checkpoint", "ad_vae", "ad_sampler", "ad_scheduler")}
    menus |= {"ad_controlnet_model": [], "ad_controlnet_module": []}
    told = json.loads(json.dumps(described(menus)))
    parts = [part for _, rows in told["groups"] for row in rows for part in row]
    assert parts == [*told["parts"]] == [*told["starts"]]
    assert told["parts"]["ad_mask_blur"] == {
        "label": "ADetailer mask blur",
        "hint": "",
        "kind": "slider",
        "minimum": 0,
        "maximum": 64,
        "step": 1,
    }
    assert told["parts"]["ad_mask_merge_invert"]["choices"] == ["None", "Merge", "Merge and Invert"]
