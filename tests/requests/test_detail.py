"""The detail pass in requests and infotexts."""

import pytest

from modules.core.errors import InputError
from modules.images.infotext import format_infotext, known_keys, parse_infotext, to_request_values
from modules.requests.detail import DetailUnit, told
from modules.requests.txt2img import make_request

FACE = {"ad_model": "mediapipe_face_full", "ad_prompt": "a face, [SEP] two", "ad_denoising_strength": 0.5}
HAND = {"ad_model": "hand_yolov8n", "ad_use_steps": True, "ad_steps": 9, "ad_mask_merge_invert": "Merge"}


def test_units_come_back_from_their_infotext():
    request = make_request({"detail": [FACE, {}, HAND]})
    fields = told(request.detail)
    assert fields["ADetailer model"] == "mediapipe_face_full" and fields["ADetailer model 2nd"] == "hand_yolov8n"
    assert fields["ADetailer confidence"] == 0.3 and "ADetailer steps" not in fields
    assert set(fields) <= known_keys()
    text = parse_infotext(format_infotext("x", "", {"Steps": 1, "Seed": 2, "Size": "64x64", **fields}))
    again = make_request(to_request_values(text)).detail
    assert again == tuple(unit for unit in request.detail if unit.active)


def test_a_unit_without_a_detector_or_switched_off_does_nothing():
    assert (
        not DetailUnit.model_validate({}).active
        and not DetailUnit.model_validate({"ad_model": "x", "ad_tab_enable": False}).active
    )
    assert (
        told((DetailUnit.model_validate({}), DetailUnit.model_validate({"ad_model": "x", "ad_tab_enable": False})))
        == {}
    )


@pytest.mark.parametrize(
    ("name", "value"), [("ad_confidence", 2), ("ad_mask_blur", 1.5), ("ad_nothing", 1), ("ad_mask_filter_method", "x")]
)
def test_wrong_values_are_named(name, value):
    with pytest.raises(InputError, match=rf"^detail\.0\.{name} "):
        make_request({"detail": [{name: value}]})
