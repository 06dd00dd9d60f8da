"""Templates through the engine: each picture of a job has the prompts of its seed, and is the one that those prompts alone give."""

import io
from typing import Any

import pytest
from PIL import Image

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.engine.templates import _groups
from modules.images.encode import encode_png
from modules.images.infotext import parse_infotext
from modules.images.reading import take_picture
from modules.jobs.executors.base import Cancel
from modules.requests.events import Done, ImageReady, Order, Warned
from modules.requests.img2img import make_img2img_request
from modules.requests.pictures import Picture
from modules.requests.txt2img import make_request
from modules.templates.resolve import resolve
from tests.tiny import write_tiny

SMALL = {"width": 64, "height": 64, "steps": 2, "sampler_name": "Euler a", "cfg_scale": 3}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    data = tmp_path_factory.mktemp("templates")
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    (data / "models" / "wildcards").mkdir()
    (data / "models" / "wildcards" / "colour.txt").write_text("red\ngreen\nblue\n", "utf-8")
    return build_engine(paths=Paths(data=data), use_cpu=True)


def run(engine, *, seed=7, done=(), **values) -> list[Any]:
    options = Settings().changed({"sd_model_checkpoint": "tiny", "live_previews_enable": False}).flat()
    request = make_request({**SMALL, **values})
    return list(engine.run(Order(job="x", request=request, seed=seed, options=options, done=frozenset(done)), Cancel()))


def pictures(engine, **values):
    return [event for event in run(engine, **values) if isinstance(event, ImageReady)]


def pixels(event):
    return Image.open(io.BytesIO(event.data)).convert("RGB").tobytes()


@pytest.mark.parametrize("shape", [{"n_iter": 4}, {"n_iter": 2, "batch_size": 2}], ids=["one by one", "in batches"])
def test_each_picture_is_that_of_its_own_prompt(engine, shape):
    events = run(engine, prompt="a __colour__ {star|moon|sun}", negative_prompt="{@bad|worse}", **shape)
    drawn, done = [event for event in events if isinstance(event, ImageReady)], events[-1]
    assert [event.index for event in drawn] == [0, 1, 2, 3]
    assert [event.seed for event in drawn] == [7, 8, 9, 10]
    told = [parse_infotext(event.infotext) for event in drawn]
    assert len({one.prompt for one in told}) > 1
    assert isinstance(done, Done)
    assert done.info["all_prompts"] == [one.prompt for one in told]
    assert done.info["all_negative_prompts"] == ["bad", "worse", "bad", "worse"]
    for event, one in zip(drawn, told, strict=True):
        assert one.fields["Template"] == "a __colour__ {star|moon|sun}"
        assert one.fields["Negative Template"] == "{@bad|worse}"
        alone = pictures(engine, seed=event.seed, prompt=one.prompt, negative_prompt=one.negative_prompt)[0]
        assert pixels(alone) == pixels(event)
        assert "Template" not in alone.infotext


def test_another_try_draws_the_same_pictures(engine):
    values: dict[str, Any] = {"prompt": "a __colour__ star", "n_iter": 4}
    whole = pictures(engine, **values)
    rest = pictures(engine, done=(0, 2), **values)
    assert [event.index for event in rest] == [1, 3]
    assert [event.data for event in rest] == [whole[1].data, whole[3].data]


def test_batches_with_one_prompt_stay_batches(engine):
    same = pictures(engine, prompt="a {star}{|}", n_iter=2, batch_size=2)
    assert [event.fields["batch_number"] for event in same] == [1, 2, 1, 2]


def test_text_that_only_looks_like_a_template_draws_as_before(engine):
    plain: dict[str, Any] = {"prompt": "{a star}, __nothing__ {{very}} bright"}
    events = run(engine, **plain)
    off = pictures(engine, dynamic_prompts=False, **plain)
    drawn = next(event for event in events if isinstance(event, ImageReady))
    assert drawn.data == off[0].data
    assert "no wildcard __nothing__" in next(event.message for event in events if isinstance(event, Warned))


def test_the_second_pass_and_regions_are_filled_in(engine):
    drawn = pictures(
        engine,
        prompt="a star",
        enable_hr=True,
        hr_scale=1.0,
        hr_prompt="a __colour__ moon",
        tiled_diffusion={"regions": "0, 0, 0.5, 1 | a {red|blue} cat | {bad|}"},
    )
    fields = parse_infotext(drawn[0].infotext).fields
    assert fields["Hires prompt"] in ("a red moon", "a green moon", "a blue moon")
    assert "{" not in drawn[0].infotext


def test_styles_come_before_templates(engine, tmp_path_factory):
    sheet = engine._tools.styles
    sheet.save("Look", "{prompt}, {@oil|ink}", "flat")
    events = run(engine, prompt="a star", styles=["Look"], n_iter=2)
    told = [parse_infotext(event.infotext) for event in events if isinstance(event, ImageReady)]
    assert [(one.prompt, one.negative_prompt) for one in told] == [("a star, oil", "flat"), ("a star, ink", "flat")]
    assert events[-1].info["styles"] == ["Look"]


def test_init_pictures_stay_with_their_places_in_a_batch(engine):
    begun = [shade(value) for value in (10, 240)]
    fields = {"init_images": begun, "prompt": "a {red|green|blue} {cat|dog}", "denoising_strength": 0.3}
    request = make_img2img_request({**SMALL, **fields, "n_iter": 2, "batch_size": 2})
    options = Settings().changed({"sd_model_checkpoint": "tiny", "live_previews_enable": False}).flat()
    events = list(engine.run(Order(job="x", request=request, seed=7, options=options), Cancel()))
    drawn = [event for event in events if isinstance(event, ImageReady)]
    assert [event.index for event in drawn] == [0, 1, 2, 3]
    prompts = [parse_infotext(event.infotext).prompt for event in drawn]
    assert len(set(prompts)) > 1

    found = resolve(request, 7, "x", lambda: engine._tools.wildcards.look(""), options)
    assert found is not None
    groups = list(_groups(request, found))
    assert [positions for _, positions in groups] == [{0}, {1}, {2}, {3}]
    assert [one.prompt for one, _ in groups] == prompts
    assert [getattr(one, "init_images", None) for one, _ in groups] == [(begun[place],) for place in (0, 1, 0, 1)]


def shade(value: int) -> Picture:
    return take_picture("init_images", encode_png(Image.new("RGB", (64, 64), (value, value, value)), None))
