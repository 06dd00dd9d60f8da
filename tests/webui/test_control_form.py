"""ControlNet units on the page: what the browser says of them becomes a request, and an infotext what the browser shows."""

import io
import json

import pytest
from PIL import Image

from modules.core.errors import InputError
from modules.jobs.uploads import Uploads
from webui.control_form import check, gathered_control, text_of


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path)


def sent(uploads, colour):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return uploads.keep(buffer.getvalue())


def test_units_become_the_requests(uploads):
    red, blue = sent(uploads, "red"), sent(uploads, "blue")
    units = [
        {"enabled": True, "module": "canny", "model": "a", "image": red.sha256, "mask": None, "preview": "x"},
        {"enabled": False, "model": "b", "image": blue.sha256},
        {
            "enabled": True,
            "model": "c",
            "input_mode": "merge",
            "images": [red.sha256, blue.sha256],
            "image": red.sha256,
        },
    ]
    first, second, third = gathered_control(json.dumps(units), uploads)
    assert first.image == red and first.module == "canny" and first.mask is None
    assert not second.enabled and second.image is None
    assert third.images == (red, blue) and third.image is None


def test_what_is_kept_holds_no_pictures_and_nothing_strange():
    text = json.dumps([{"enabled": True, "model": "a", "image": "b" * 64, "odd": 1}])
    assert json.loads(check(text)) == [{"enabled": True, "model": "a"}]


@pytest.mark.parametrize("value", ["{", "{}", "[5]", '[{"weight": 9}]', '[{"control_mode": "x"}]', 5])
def test_wrong_values_are_refused(value, uploads):
    with pytest.raises(InputError, match="^control"):
        check(value)
    if value != 5 and "w" in value:
        with pytest.raises(InputError, match=r"control\.0\.weight"):
            gathered_control('[{"enabled": true, "weight": 9}]', uploads)


def test_a_picture_that_is_gone_is_told(uploads):
    with pytest.raises(InputError, match=r"control\.0\.image is no longer kept"):
        gathered_control(json.dumps([{"enabled": True, "image": "a" * 64}]), uploads)


def test_infotexts_units_are_enabled_and_the_others_off():
    assert json.loads(text_of([{}, {"module": "canny"}])) == [{"enabled": False}, {"module": "canny", "enabled": True}]
