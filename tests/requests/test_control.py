"""ControlNet units in infotexts, as the extension writes them and as it once did."""

from modules.images.infotext import format_infotext, known_keys, parse_infotext, to_request_values
from modules.requests.control import ControlUnit
from modules.requests.control_infotext import read_unit, told
from modules.requests.txt2img import make_request

CANNY = {
    "module": "canny",
    "model": "control_v11p_sd15_canny [d14c016b]",
    "weight": 0.8,
    "processor_res": 512,
    "threshold_a": 100.0,
    "threshold_b": 200.0,
    "guidance_end": 0.75,
    "control_mode": "ControlNet is more important",
    "hr_option": "Low res only",
    "advanced_weighting": (0.5, 1.0),
}


def test_units_come_back_from_their_infotext():
    request = make_request({"control": [CANNY, {}, {"model": "b", "pixel_perfect": True}]})
    fields = told(request.control)
    assert fields["ControlNet 0"] == (
        "Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: 0.8, Resize Mode: Crop and Resize, "
        "Processor Res: 512, Threshold A: 100.0, Threshold B: 200.0, Guidance Start: 0.0, Guidance End: 0.75, "
        "Pixel Perfect: False, Control Mode: ControlNet is more important, Hr Option: Low res only, Advanced Weighting: 0.5/1.0"
    )
    assert set(fields) == {"ControlNet 0", "ControlNet 2"} and set(fields) <= known_keys()
    text = parse_infotext(format_infotext("x", "", {"Steps": 1, "Seed": 2, "Size": "64x64", **fields}))
    again = make_request(to_request_values(text)).control
    assert again[0] == request.control[0] and again[2] == request.control[2] and not again[1].active


def test_the_old_form_is_read():
    text = (
        "preprocessor: openpose, model: control_v11p_sd15_openpose [cab727d4], weight: 1, starting/ending: (0, 1), "
        "resize mode: Crop and Resize, pixel perfect: False, control mode: Balanced, preprocessor params: (512, 64, 64)"
    )
    unit = ControlUnit.model_validate(read_unit(text))
    assert (unit.module, unit.model) == ("openpose", "control_v11p_sd15_openpose [cab727d4]")
    assert (unit.processor_res, unit.threshold_a, unit.guidance_end) == (512, 64, 1)


def test_what_is_no_unit_reads_as_none():
    assert read_unit("") == {} and read_unit("(" * 5000) == {}


def test_what_cannot_do_anything_is_not_active():
    for idle in ({}, {"model": "x", "enabled": False}, {"model": "x", "weight": 0}, {"model": "none "}):
        assert not ControlUnit.model_validate(idle).active or idle == {"model": "none "}
    assert ControlUnit.model_validate({"module": "reference_only"}).active
