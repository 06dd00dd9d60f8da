"""Techniques in whole jobs on a tiny model: they change the picture, tell of it, and leave nothing behind."""

import io

import numpy as np
import pytest
from PIL import Image

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.images.infotext import parse_infotext, to_request_values
from modules.jobs.executors.base import Cancel
from modules.requests.events import Failed, ImageReady, Order
from modules.requests.txt2img import make_request
from tests.tiny import write_tiny

SMALL = {"prompt": "a red star", "width": 64, "height": 64, "steps": 6, "sampler_name": "Euler a", "cfg_scale": 40}
TECHNIQUES: dict[str, dict] = {
    "tiling": {"tiling": True},
    "rescale": {"cfg_rescale": 0.7},
    "freeu": {"freeu": {"b1": 1.5, "b2": 1.6, "s1": 0.9, "s2": 0.2}},
    "freeu for a while": {
        "freeu": {"b1": 1.5, "b2": 1.6, "s1": 0.9, "s2": 0.2, "version": 1, "start": 0.2, "end": 0.4}
    },
    "sag": {"self_attention_guidance": {"scale": 2.0, "threshold": 0.9}},
    "pag": {"perturbed_attention_guidance": {"scale": 4.0}},
    "thresholding": {"dynamic_thresholding": {"mimic_scale": 2.0, "threshold_percentile": 0.9}},
    "token merging": {"override_settings": {"token_merging_ratio": 0.5}},
}
DEEP = {"deep_cache": {"interval": 2, "branch": 1}}
SLOW = ("self_attention_guidance", "perturbed_attention_guidance")
EVERYTHING = {name: value for values in TECHNIQUES.values() for name, value in values.items()}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    data = tmp_path_factory.mktemp("engine")
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    return build_engine(paths=Paths(data=data), use_cpu=True)


def drawing(engine):
    """A function that draws with it, over SMALL."""

    def run(seed=11, cancel=None, **values):
        options = Settings().changed({"sd_model_checkpoint": "tiny", **values.pop("override_settings", {})})
        order = Order(job="test", request=make_request({**SMALL, **values}), seed=seed, options=options.flat())
        return [event for event in engine.run(order, cancel or Cancel()) if isinstance(event, ImageReady)]

    return run


@pytest.fixture(scope="module")
def draw(engine):
    return drawing(engine)


def pixels(event):
    return np.asarray(Image.open(io.BytesIO(event.data))).astype(int)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_changes_the_picture_and_nothing_after_it(draw, name):
    before = draw()[0]
    changed = draw(**TECHNIQUES[name])[0]
    assert np.abs(pixels(changed) - pixels(before)).max() > 1
    assert draw()[0].data == before.data
    assert draw(**TECHNIQUES[name])[0].data == changed.data


@pytest.mark.parametrize("name", [*TECHNIQUES, "everything"])
def test_same_picture_whatever_the_batch(draw, name):
    values = {**TECHNIQUES, "everything": EVERYTHING}[name]
    together = draw(batch_size=3, **values)
    alone = draw(seed=12, **values)[0]
    assert np.abs(pixels(together[1]) - pixels(alone)).max() <= 1
    assert np.abs(pixels(together[0]) - pixels(alone)).max() > 1


@pytest.mark.parametrize("name", [*TECHNIQUES, "everything"])
def test_infotext_asks_for_the_same_again(draw, name):
    values = {**TECHNIQUES, "everything": EVERYTHING}[name]
    event = draw(**values)[0]
    again = to_request_values(parse_infotext(event.infotext))
    seed = int(again.pop("seed"))
    assert draw(seed=seed, **again, override_settings=values.get("override_settings", {}))[0].data == event.data


def test_infotext_has_a1111s_and_forges_keys(draw):
    overrides = {"randn_source": "CPU", "token_merging_ratio": 0.5}
    line = draw(**{**EVERYTHING, "override_settings": overrides})[0].infotext
    assert "Token merging ratio: 0.5, RNG: CPU, Tiling: True, " in line
    assert "sag_enabled: True, sag_scale: 2.0, sag_blur_sigma: 2.0, sag_threshold: 0.9, pag_enabled: True" in line
    assert "freeu" not in draw()[0].infotext


@pytest.mark.parametrize(
    "values",
    [
        {"sampler_name": "DDIM CFG++"},
        {"sampler_name": "LCM"},
        {"sampler_name": "DPM fast"},
        {"sampler_name": "DPM2", "steps": 1},
        {"cfg_scale": 1},
        {"cfg_scale": 0},
        {"prompt": "a red star AND a blue boat :0.5", "negative_prompt": "ugly"},
        {"s_min_uncond": 3.0},
        {"width": 72, "height": 104},
    ],
    ids=str,
)
def test_together_with_everything_else(draw, values):
    plain = draw(**values)[0]
    both = draw(**{**EVERYTHING, **values})[0]
    assert np.abs(pixels(both) - pixels(plain)).max() > 1
    assert draw(**values)[0].data == plain.data


@pytest.mark.parametrize(
    "values",
    [
        {"sampler_name": "Heun", "s_min_uncond": 3.0},
        {"sampler_name": "DDIM CFG++", "override_settings": {"batch_cond_uncond": False}},
        {"prompt": "a red star AND a blue boat :0.5", "negative_prompt": "ugly"},
        {"prompt": "a [red star:blue boat, with more words than before:0.5]", "cfg_scale": 1},
        {"width": 72, "height": 104, "freeu": {"b1": 1.5}, "tiling": True, "cfg_rescale": 0.5},
    ],
    ids=str,
)
def test_deep_cache_with_everything_it_goes_with(draw, values):
    plain = draw(**values)[0]
    cached = draw(**values, deep_cache={"interval": 2})[0]
    assert np.abs(pixels(cached) - pixels(plain)).max() > 1
    assert draw(**values)[0].data == plain.data
    pair = draw(**values, deep_cache={"interval": 2}, batch_size=2, seed=10)
    assert np.abs(pixels(pair[1]) - pixels(cached)).max() <= 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"deep_cache": {"branch": 3}}, "deep_cache.branch is 3: the U-Net of "),
        ({"deep_cache": {}, "self_attention_guidance": {}}, "self_attention_guidance works on. Turn one of them off"),
        ({"deep_cache": {}, "perturbed_attention_guidance": {}}, "perturbed_attention_guidance works on."),
        ({"first_block_cache": {}}, "Use deep_cache instead."),
    ],
    ids=str,
)
def test_caches_that_do_not_go(engine, draw, values, words):
    before = draw()[0].data
    options = Settings().changed({"sd_model_checkpoint": "tiny"}).flat()
    order = Order(job="test", request=make_request({**SMALL, **values}), seed=1, options=options)
    last = list(engine.run(order, Cancel()))[-1]
    assert isinstance(last, Failed)
    assert words in last.message
    assert draw()[0].data == before


def test_pictures_tile_by_the_setting_unless_the_request_says_otherwise(draw):
    plain, tiled = draw()[0], draw(tiling=True)[0]
    assert draw(override_settings={"tiling": True})[0].data == tiled.data
    assert draw(override_settings={"tiling": True}, tiling=False)[0].data == plain.data


def test_nothing_is_left_behind_when_the_user_stops_it(draw):
    before = draw()[0].data
    cancel = Cancel()
    cancel.ask("interrupt")
    assert draw(cancel=cancel, **EVERYTHING) == []

    class Later(Cancel):
        looks = 0

        @property
        def interrupted(self):
            self.looks += 1
            return self.looks > 3

    stopped = draw(cancel=Later(), **EVERYTHING)
    assert [event.incomplete for event in stopped] == [True]
    assert draw()[0].data == before


def test_freeu_works_in_its_part_of_the_steps(draw):
    def drawn(**part):
        freeu = {"b1": 1.5, "b2": 1.6, "s1": 0.9, "s2": 0.2, **part}
        return pixels(draw(freeu=freeu)[0]).tobytes()

    plain, whole = pixels(draw()[0]).tobytes(), drawn()
    assert drawn(start=0, end=1) == whole
    assert drawn(start=0.41, end=0.59) == plain  # between two of six steps
    assert len({plain, whole} | {drawn(start=i / 5, end=i / 5) for i in range(6)}) == 8


@pytest.mark.parametrize(
    "kind", [{"marks": ("v_pred",)}, {"metadata": {"modelspec.prediction_type": "flow"}}, {"in_channels": 8}]
)
def test_on_other_kinds_of_models(tmp_path, kind):
    write_tiny(tmp_path / "models" / "Stable-diffusion" / "tiny.safetensors", **kind)
    draw = drawing(build_engine(paths=Paths(data=tmp_path), use_cpu=True))
    plain = draw()[0].data
    together = draw(batch_size=2, **EVERYTHING)
    assert np.abs(pixels(together[1]) - pixels(draw(seed=12, **EVERYTHING)[0])).max() <= 1
    assert together[0].data != plain
    assert draw()[0].data == plain
    assert draw(freeu={"b1": 1.9, "end": 0.3})[0].data not in (plain, draw(freeu={"b1": 1.9, "start": 0.5})[0].data)
