"""ControlNet over the API: the extension's arguments in all their forms."""

import base64
import io

import pytest
from PIL import Image

from modules.api.bodies import Txt2ImgBody
from modules.core.errors import InputError


def png(colour="red", mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, (8, 8), colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def units(*args, title="ControlNet"):
    return Txt2ImgBody.model_validate({"alwayson_scripts": {title: {"args": list(args)}}}).to_request().control


def test_named_arguments_and_their_old_names():
    new = units({"model": "canny", "module": "canny", "image": png(), "guidance_end": 0.5, "low_vram": True})
    old = units(
        {"model": "canny", "module": "canny", "input_image": png(), "guidance": 0.5, "lowvram": True, "is_ui": False},
        title="controlnet",
    )
    assert new == old
    assert units({"model": "x", "batch_image_dir": "maps"}) == units({"model": "x", "batch_images": "maps"})
    assert new[0].guidance_end == 0.5 and new[0].image is not None


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ({"resize_mode": 2}, {"resize_mode": "Resize and Fill"}),
        ({"resize_mode": "Scale to Fit (Inner Fit)"}, {"resize_mode": "Crop and Resize"}),
        ({"control_mode": 1}, {"control_mode": "My prompt is more important"}),
        ({"control_mode": "balanced"}, {"control_mode": "Balanced"}),
        ({"hr_option": "high res only"}, {"hr_option": "High res only"}),
        ({"union_control_type": "Soft Edge"}, {"union_control_type": "Soft Edge"}),
    ],
)
def test_choices_by_word_by_number_and_by_old_name(given, canonical):
    assert units(given) == units(canonical)


def test_pictures_in_all_forms():
    red, blue, black = png("red"), png("blue"), png("black", "L")
    assert (
        units({"image": {"image": red, "mask": blue}})
        == units({"image": [red, blue]})
        == units({"image": red, "mask_image": blue})
    )
    assert units({"image": {"image": red, "mask": black}})[0].mask is None
    several = units({"image": [{"image": red}, {"image": blue}]})[0]
    assert several.input_mode == "merge" and len(several.images) == 2 and several.image is None
    for many in ({"image": [{"image": "x"}] * 501}, {"images": ["x"] * 501}):  # refused before any is decoded
        with pytest.raises(InputError, match="holds more than 500 pictures"):
            units(many)


def test_arguments_by_their_places():
    one = units(True, "canny", "model", 0.7, None, 1, False, 512)
    assert one == units({"module": "canny", "model": "model", "weight": 0.7, "resize_mode": 1, "processor_res": 512})
    assert len(units(*[True, "none", "None", 1, None, 1, False, 64, 1, 1, 0, 1, False, 0] * 2)) == 2


def test_the_requests_own_field():
    own = Txt2ImgBody.model_validate({"control": [{"model": "canny", "image": png()}]}).to_request().control
    assert own == units({"model": "canny", "image": png()})


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ({"modle": "x"}, "modle"),
        ({"weight": 3}, "control.0.weight is 3"),
        ({"control_mode": 7}, 'must be one of "Balanced"'),
        ({"guidance_start": 0.9, "guidance_end": 0.1}, "cannot end before it starts"),
        ({"image": "%%%"}, "not valid base64"),
        ({"image": base64.b64encode(b"no picture").decode()}, "no whole picture"),
        ({"image": 5}, "control.0.image is 5"),
        ({"processor_res": "large"}, "processor_res"),
    ],
)
def test_wrong_values_are_named(unit, said):
    with pytest.raises(InputError, match=said):
        units(unit)
    with pytest.raises(InputError, match="at most 10"):
        units(*[{}] * 11)
