"""Hires fix on tiny models of random weights: both passes, what comes between, and what is told of them."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.images.infotext import parse_infotext, to_request_values
from modules.jobs.executors.base import Cancel
from modules.requests.events import CopyReady, Done, Failed, ImageReady, Loading, Order, Progress
from modules.requests.hires import LATENT_MODES
from modules.requests.pictures import Picture
from modules.requests.txt2img import make_request
from tests.engine.test_engine import Wishes
from tests.networks.files import write_lora
from tests.tiny import write_tiny

SMALL = {
    "prompt": "a red star",
    "width": 64,
    "height": 64,
    "steps": 3,
    "sampler_name": "Euler",
    "enable_hr": True,
    "hr_scale": 2.0,
    "denoising_strength": 0.6,
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    data = tmp_path_factory.mktemp("hires")
    models = data / "models" / "Stable-diffusion"
    write_tiny(models / "tiny.safetensors")
    write_tiny(models / "other.safetensors", seed=1)
    write_lora(data / "models" / "Lora" / "one.safetensors")
    write_lora(data / "models" / "Lora" / "two.safetensors", seed=1)
    return build_engine(paths=Paths(data=data), use_cpu=True)


def run(engine, *, cancel=None, options=None, done=(), **values):
    settings = Settings().changed({"sd_model_checkpoint": "tiny", "randn_source": "CPU", **(options or {})})
    request = make_request({**SMALL, **values})
    order = Order(job="t", request=request, seed=5, options=settings.flat(), done=frozenset(done))
    return list(engine.run(order, cancel or Cancel()))


def pictures(events):
    assert isinstance(events[-1], Done), events[-1]
    return [event for event in events if isinstance(event, ImageReady)]


def image(event):
    return Image.open(io.BytesIO(event.data))


def pixels(events):
    return np.asarray(image(pictures(events)[0]), dtype=int)


def fields(events):
    return parse_infotext(pictures(events)[0].infotext).fields


@pytest.fixture(scope="module")
def plain(engine):
    """The first pass alone."""
    return run(engine, enable_hr=False)


@pytest.mark.parametrize("name", [*LATENT_MODES, "Lanczos", "nearest"])
def test_every_upscaler_draws_on_at_the_larger_size(engine, name):
    events = run(engine, hr_upscaler=name, hr_second_pass_steps=2)
    assert image(pictures(events)[0]).size == (128, 128)
    assert fields(events)["Hires upscaler"].casefold() == name.casefold()
    steps = [(e.step, e.steps, e.phase) for e in events if isinstance(e, Progress)]
    assert steps == [*((i, 5, "sampling") for i in range(4)), *((i, 5, "hires") for i in (3, 4, 5))]


def test_nothing_changed_is_the_picture_enlarged(engine, plain):
    found = image(pictures(run(engine, hr_upscaler="Nearest", denoising_strength=0, hr_scale=1))[0])
    assert np.abs(np.asarray(found, dtype=int) - pixels(plain)).mean() < 40  # through the autoencoder and back
    large = run(engine, hr_upscaler="Latent (nearest-exact)", denoising_strength=0)
    assert pixels(large).shape == (128, 128, 3)
    assert [e.step for e in large if isinstance(e, Progress)][-1] == 3


def test_the_first_pass_is_the_picture_of_its_own(engine, plain):
    copies = [e for e in run(engine, options={"save_images_before_highres_fix": True}) if isinstance(e, CopyReady)]
    assert [copy.suffix for copy in copies] == ["-before-highres-fix"]
    assert np.array_equal(np.asarray(image(copies[0]), dtype=int), pixels(plain))
    assert not [e for e in run(engine) if isinstance(e, CopyReady)]


def test_an_earlier_picture_is_enlarged_as_if_it_had_been_drawn(engine, plain):
    whole = run(engine, hr_upscaler="Lanczos", options={"save_images_before_highres_fix": True})
    given = run(engine, hr_upscaler="Lanczos", firstpass_image=Picture.of(pictures(plain)[0].data))
    assert np.array_equal(pixels(given), pixels(whole))
    assert pictures(given)[0].infotext == pictures(whole)[0].infotext
    assert [e.phase for e in given if isinstance(e, Progress)] == ["hires"] * 4
    latent = run(engine, firstpass_image=Picture.of(pictures(plain)[0].data), batch_size=2)
    assert [image(found).size for found in pictures(latent)] == [(128, 128)] * 2


def test_the_second_pass_has_its_own_values(engine):
    own = {
        "hr_prompt": "a blue star, large",
        "hr_negative_prompt": "grey",
        "hr_sampler_name": "DPM++ 2M",
        "hr_scheduler": "Exponential",
        "hr_cfg": 2.0,
        "hr_second_pass_steps": 2,
        "hr_checkpoint_name": "other",
    }
    events = run(engine, **own)
    found = fields(events)
    assert found["Hires checkpoint"].startswith("other [")
    assert [key for key in found if key.startswith("Hires")] == [
        *("Hires checkpoint", "Hires sampler", "Hires prompt", "Hires negative prompt", "Hires schedule type"),
        *("Hires upscale", "Hires steps", "Hires upscaler", "Hires CFG Scale"),
    ]
    assert (found["Model"], found["Denoising strength"], found["Size"]) == ("tiny", "0.6", "64x64")
    assert events[-1].info["denoising_strength"] == 0.6
    again = make_request(to_request_values(parse_infotext(pictures(events)[0].infotext)))
    assert pictures(run(engine, **again.model_dump(exclude={"seed"})))[0].data == pictures(events)[0].data
    for left_out in own:
        less = {name: value for name, value in own.items() if name != left_out}
        assert not np.array_equal(pixels(run(engine, **less)), pixels(events)), left_out


def test_the_same_values_are_not_told(engine):
    told = fields(run(engine, hr_sampler_name="Euler", hr_prompt="a red star", hr_checkpoint_name="tiny", hr_cfg=7))
    assert [key for key in told if key.startswith("Hires")] == ["Hires upscale", "Hires upscaler"]
    assert "Hires upscale" not in (resized := fields(run(engine, hr_resize_x=96, hr_resize_y=128)))
    assert resized["Hires resize"] == "96x128"


def test_sizes_of_what_comes_out(engine):
    for values, size in (
        ({"hr_resize_x": 96, "hr_resize_y": 128}, (96, 128)),
        ({"hr_resize_y": 100}, (96, 96)),
        ({"hr_scale": 1.55}, (96, 96)),
    ):
        for upscaler in ("Latent", "Lanczos"):
            assert image(pictures(run(engine, hr_upscaler=upscaler, **values))[0]).size == size


def test_prompt_editing_starts_anew(engine):
    edited = run(engine, prompt="a [red:blue:1.5] star", hr_second_pass_steps=4)
    assert not np.array_equal(pixels(edited), pixels(run(engine, hr_second_pass_steps=4)))
    never = run(engine, prompt="a [red:blue:2.0] star", hr_second_pass_steps=4)
    assert np.array_equal(pixels(never), pixels(run(engine, hr_second_pass_steps=4)))


def test_each_pass_has_its_own_networks(engine, plain):
    one, two = "a red star <lora:one:3>", "a red star <lora:two:3>"
    copies = {"save_images_before_highres_fix": True}
    events = run(engine, prompt=one, hr_prompt=two, n_iter=2, options=copies)
    assert [name.partition(": ")[0] for name in fields(events)["Lora hashes"].split(", ")] == ["one", "two"]
    drawn = [np.asarray(image(event), dtype=int) for event in events if isinstance(event, CopyReady)]
    alone = [
        np.asarray(image(event), dtype=int) for event in pictures(run(engine, prompt=one, enable_hr=False, n_iter=2))
    ]
    assert np.array_equal(drawn, alone)
    for other in ({"hr_prompt": ""}, {"hr_prompt": "a red star"}, {"options": {"hires_fix_use_firstpass_conds": True}}):
        assert not np.array_equal(pixels(run(engine, **{"prompt": one, "hr_prompt": two, **other})), pixels(events))
    assert pictures(run(engine, prompt=one, hr_prompt=two, n_iter=2))[1].data == pictures(events)[1].data
    assert np.array_equal(pixels(run(engine, enable_hr=False)), pixels(plain))


@pytest.mark.parametrize("passes", ["first pass", "second pass", "both passes"])
def test_the_refiner_takes_part_in_the_passes_of_the_setting(engine, passes):
    values = {"refiner_checkpoint": "other", "refiner_switch_at": 0.2, "options": {"hires_fix_refiner_pass": passes}}
    found = fields(run(engine, **values))
    assert found["Refiner"].startswith("other [")
    assert found.get("Hires refiner", "second pass") == passes
    again = run(engine, **values)
    assert not any(isinstance(event, Loading) for event in again)
    one = run(engine, **values, n_iter=2)
    assert pictures(one)[0].data == pictures(again)[0].data


@pytest.mark.parametrize(("looks", "size"), [(3, (64, 64)), (7, (128, 128))])
@pytest.mark.parametrize("wish", ["interrupt", "skip"])
def test_stopping_in_either_pass_gives_what_there_is(engine, wish, looks, size):
    stopped = run(engine, cancel=Wishes(wish, looks), n_iter=2)
    assert stopped[-1].stopped is (wish == "interrupt")
    first = pictures(stopped)[0]
    assert (first.incomplete, image(first).size) == (True, size)
    assert len(pictures(stopped)) == (1 if wish == "interrupt" else 2)


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"hr_upscaler": "Lanzcos"}, "hr_upscaler", "Nearest: Lanczos"),
        ({"hr_sampler_name": "Eulr"}, "hr_sampler_name", "Euler"),
        ({"hr_scheduler": "Karas"}, "hr_scheduler", "Karras"),
        ({"hr_checkpoint_name": "othr"}, "hr_checkpoint_name", "other"),
        ({"hr_prompt": " AND ".join("ab" * 60)}, "prompt", "hires pass"),
    ],
)
def test_what_is_wrong_with_the_second_pass_is_told_before_a_step(engine, values, field, words):
    *before, failed = run(engine, **values)
    assert isinstance(failed, Failed)
    assert failed.field == field
    assert words in failed.message
    assert not any(isinstance(event, Progress) for event in before)


def test_a_size_beyond_memory_is_told_with_both_numbers(engine, monkeypatch):
    monkeypatch.setattr(engine._tools.models._kept, "_free", lambda device: 2**30)
    *before, failed = run(engine, hr_resize_x=16_384)
    assert (failed.kind, failed.field) == ("InputError", "hr_resize_x")
    assert failed.message.startswith("In the hires pass width x height x batch_size is 16384 x 16384 x 1")
    assert failed.message.count(" GB") == 2
    assert not any(isinstance(event, Progress) for event in before)


def test_the_encoders_noise_is_torchs_of_the_last_seed(engine):
    pair = run(engine, hr_upscaler="Lanczos", batch_size=2, denoising_strength=0)
    again = run(engine, hr_upscaler="Lanczos", batch_size=2, denoising_strength=0)
    assert [found.data for found in pictures(pair)] == [found.data for found in pictures(again)]
    before = torch.get_rng_state()
    run(engine, hr_upscaler="Lanczos")
    assert torch.equal(before, torch.get_rng_state())
