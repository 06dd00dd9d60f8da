"""The detail pass in whole jobs on a tiny model, with a detector whose answer is known."""

import io

import numpy as np
import pytest
from PIL import Image

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.detect.detection import Detection, boxed
from modules.engine.build import build_engine
from modules.engine.detail import chosen, grown, prepared, prompt_of
from modules.images.encode import encode_png
from modules.images.infotext import parse_infotext, to_request_values
from modules.jobs.executors.base import Cancel
from modules.requests.detail import DetailUnit
from modules.requests.events import Done, Failed, ImageReady, Order, Warned
from modules.requests.img2img import make_img2img_request
from modules.requests.pictures import Picture
from modules.requests.txt2img import make_request
from tests.detect.test_detectors import yolo
from tests.tiny import write_tiny
from tests.tiny_control import tiny_controlnet, write_controlnet

SMALL = {"prompt": "a red star", "width": 64, "height": 64, "steps": 3, "sampler_name": "Euler a", "cfg_scale": 30}
UNIT = {"ad_model": "spots", "ad_denoising_strength": 0.8, "ad_mask_blur": 0, "ad_dilate_erode": 0}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    data = tmp_path_factory.mktemp("detail")
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    yolo(data / "models" / "adetailer" / "spots.xml", [[16, 16, 16, 16, 0.9], [48, 48, 16, 16, 0.8]])
    yolo(data / "models" / "adetailer" / "nothing.xml", [[16, 16, 16, 16, 0.01]])
    return build_engine(paths=Paths(data=data), use_cpu=True)


def run(engine, request, seed=7, done=(), cancel=None):
    options = Settings().changed({"sd_model_checkpoint": "tiny", **request.override_settings}).flat()
    order = Order(job="x", request=request, seed=seed, options=options, done=frozenset(done))
    return list(engine.run(order, cancel or Cancel()))


def pictures(engine, request=None, **values):
    request = request or make_request({**SMALL, **values})
    return [event for event in run(engine, request) if isinstance(event, ImageReady)]


def pixels(event):
    return np.asarray(Image.open(io.BytesIO(event.data)).convert("RGB")).astype(int)


def test_what_is_found_is_drawn_again_and_nothing_else(engine):
    plain, detailed = pictures(engine)[0], pictures(engine, detail=[UNIT])[0]
    changed = np.abs(pixels(plain) - pixels(detailed)).max(axis=2)
    assert changed[8:24, 8:24].max() > 8 and changed[40:56, 40:56].max() > 8
    changed[8:24, 8:24] = changed[40:56, 40:56] = 0
    assert changed.max() == 0
    assert pictures(engine, detail=[{**UNIT, "ad_model": "nothing"}])[0].data != b""
    assert (pixels(pictures(engine, detail=[{**UNIT, "ad_model": "nothing"}])[0]) == pixels(plain)).all()


def test_the_infotext_gives_it_again(engine):
    first = pictures(engine, detail=[{**UNIT, "ad_prompt": "a blue moon [SEP] [SKIP]"}])[0]
    assert Image.open(io.BytesIO(first.data)).info["parameters"] == first.infotext
    again = to_request_values(parse_infotext(first.infotext))
    assert pictures(engine, **{name: value for name, value in again.items() if name != "seed"})[0].data == first.data


def test_a_skipped_thing_stays(engine):
    plain, detailed = pictures(engine)[0], pictures(engine, detail=[{**UNIT, "ad_prompt": "[SEP] [SKIP]"}])[0]
    changed = np.abs(pixels(plain) - pixels(detailed)).max(axis=2)
    assert changed[8:24, 8:24].max() > 8 and changed[40:56, 40:56].max() == 0


def test_every_picture_of_every_batch_gets_it_also_after_a_retry(engine):
    request = make_request({**SMALL, "n_iter": 2, "batch_size": 2, "detail": [UNIT]})
    whole = {event.index: event.data for event in run(engine, request) if isinstance(event, ImageReady)}
    assert sorted(whole) == [0, 1, 2, 3] and len(set(whole.values())) == 4
    rest = {event.index: event.data for event in run(engine, request, done={0, 1, 2}) if isinstance(event, ImageReady)}
    assert rest == {3: whole[3]}


def test_a_picture_that_is_there_already(engine):
    buffer = io.BytesIO()
    Image.new("RGB", (96, 64), "teal").save(buffer, format="PNG")
    given = {**SMALL, "init_images": [Picture.of(buffer.getvalue())], "width": 96, "detail": [UNIT]}
    detailed = pixels(pictures(engine, make_img2img_request({**given, "detail_only": True}))[0])
    teal = (detailed == np.array([0, 128, 128])).all(axis=2)
    assert detailed.shape == (64, 96, 3) and not teal.all() and teal.mean() > 0.5


def test_an_interrupt_hands_over_what_there_is(engine):
    cancel = Cancel()
    request = make_request({**SMALL, "n_iter": 3, "detail": [UNIT]})
    options = Settings().changed({"sd_model_checkpoint": "tiny"}).flat()
    found = []
    for event in engine.run(Order(job="x", request=request, seed=7, options=options), cancel):
        found.append(event)
        if getattr(event, "phase", "").startswith("detail"):
            cancel.ask("interrupt")
    assert isinstance(found[-1], Done) and found[-1].stopped
    assert len([event for event in found if isinstance(event, ImageReady)]) == 1


def test_a_pass_that_fails_is_told_and_the_picture_is_there(engine):
    request = make_request({**SMALL, "detail": [{**UNIT, "ad_use_checkpoint": True, "ad_checkpoint": "nowhere"}]})
    events = run(engine, request)
    (picture,) = [event for event in events if isinstance(event, ImageReady)]
    assert (pixels(picture) == pixels(pictures(engine)[0])).all() and isinstance(events[-1], Done)
    assert any("nowhere" in event.message for event in events if isinstance(event, Warned))


def test_pictures_are_saved_with_loss_once_at_the_end(engine):
    saved = {"override_settings": {"samples_format": "jpg", "jpeg_quality": 30}}
    untouched = {**UNIT, "ad_model": "nothing"}
    assert pictures(engine, **saved, detail=[untouched])[0].data[:2] == b"\xff\xd8"
    assert (pixels(pictures(engine, **saved, detail=[untouched])[0]) == pixels(pictures(engine, **saved)[0])).all()


def test_a_detector_that_is_not_there_fails_before_anything_is_drawn(engine):
    *rest, ended = run(engine, make_request({**SMALL, "detail": [{"ad_model": "spotz"}]}))
    assert isinstance(ended, Failed) and "spots" in ended.message
    assert not [event for event in rest if isinstance(event, ImageReady)]


def unit(**values):
    return DetailUnit.model_validate(values)


def detection(left, top, right, bottom, score=0.5):
    box = (left, top, right, bottom)
    return Detection(box=box, score=score, label="x", mask=boxed((100, 100), box))


def test_which_are_chosen_and_in_which_order():
    small, large, sure = detection(60, 0, 70, 10), detection(0, 0, 50, 50), detection(45, 45, 60, 60, 0.9)
    found = [sure, small, large]
    size = (100, 100)

    def of(order="None", **values):
        return chosen(found, unit(**values), size, order)

    assert of() == found
    assert of(ad_mask_k=1) == [large] and of(ad_mask_k=1, ad_mask_filter_method="Confidence") == [sure]
    assert of(ad_mask_min_ratio=0.02) == [sure, large] and of(ad_mask_max_ratio=0.02) == [small]
    assert of("Position (left to right)") == [large, sure, small]
    assert of("Position (center to edge)") == [sure, large, small]
    assert of("Area (large to small)") == [large, sure, small]


def test_masks_are_moved_grown_and_merged():
    one, two = detection(10, 10, 20, 20), detection(50, 50, 60, 60)
    size = (100, 100)
    (moved, _) = prepared([one, two], unit(ad_dilate_erode=0, ad_x_offset=5, ad_y_offset=3), size)
    assert moved.getbbox() == (15, 7, 25, 17)
    assert grown(one.mask, 4).getbbox() == (8, 8, 22, 22) and grown(one.mask, -4).getbbox() == (12, 12, 18, 18)
    (merged,) = prepared([one, two], unit(ad_dilate_erode=0, ad_mask_merge_invert="Merge"), size)
    assert merged.getbbox() == (10, 10, 60, 60)
    (inverted,) = prepared([one, two], unit(ad_dilate_erode=0, ad_mask_merge_invert="Merge and Invert"), size)
    assert inverted.getpixel((15, 15)) == 0 and inverted.getpixel((30, 30)) == 255
    assert prepared([one], unit(ad_dilate_erode=-100), size) == []


def test_prompts_of_things():
    assert [prompt_of("p", "", i) for i in range(2)] == ["p", "p"]
    assert [prompt_of("p", "a, [PROMPT] [SEP] [SKIP] [SEP] c", i) for i in range(4)] == ["a, p", None, "c", "c"]


def test_a_pass_has_a_controlnet_of_its_own(tmp_path):
    write_tiny(tmp_path / "models" / "Stable-diffusion" / "tiny.safetensors")
    yolo(tmp_path / "models" / "adetailer" / "spots.xml", [[16, 16, 16, 16, 0.9]])
    write_controlnet(tmp_path / "models" / "ControlNet" / "canny.safetensors", tiny_controlnet(1), "ldm")
    engine = build_engine(paths=Paths(data=tmp_path), use_cpu=True)
    own = {"model": "canny", "image": Picture.of(encode_png(Image.new("RGB", (64, 64), "red"), None))}

    def drawn(control="None", **values):
        unit = {**UNIT, "ad_controlnet_model": control, "ad_controlnet_weight": 1}
        return pixels(pictures(engine, detail=[{**unit, **values}], control=[own])[0])

    plain, alone, passed = drawn(), drawn("canny"), drawn("Passthrough")
    places = [np.abs(one - two).max(axis=2) for one, two in ((plain, alone), (plain, passed), (alone, passed))]
    for change in places:
        assert change[8:24, 8:24].max() > 0
        change[8:24, 8:24] = 0
        assert change.max() == 0
    assert (drawn("canny", ad_controlnet_weight=0) == plain).all()
