"""The refiner takes over where it should; and VAEs are put in and out. On tiny models of random weights."""

import hashlib
import io

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.families.ldm_keys import VAE
from modules.families.source import without_prefix
from modules.images.infotext import parse_infotext
from modules.jobs.executors.base import Cancel
from modules.requests.events import Done, Failed, ImageReady, Loading, Order
from modules.requests.txt2img import make_request
from tests.tiny import ldm_tensors, tiny_parts, write_tiny

SMALL = {"prompt": "a [red:blue:0.5] star", "width": 64, "height": 64, "steps": 6, "sampler_name": "Euler"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refiner")
    models = folder / "models" / "Stable-diffusion"
    write_tiny(models / "base.safetensors")
    write_tiny(models / "second.safetensors", seed=1)
    write_tiny(models / "flow.safetensors", seed=2, metadata={"modelspec.prediction_type": "flow"})
    (folder / "models" / "VAE").mkdir()
    for name, prefix, seed in (("bare", "", 3), ("whole", VAE, 3)):
        vae = without_prefix(ldm_tensors(tiny_parts(seed)), VAE)
        save_file({prefix + key: t for key, t in vae.items()}, folder / "models" / "VAE" / f"{name}.safetensors")
    save_file({"lora_x.alpha": torch.ones(1)}, folder / "models" / "VAE" / "lora.safetensors")
    return folder


@pytest.fixture(scope="module")
def engine(folder):
    return build_engine(paths=Paths(data=folder), use_cpu=True)


def run(engine, *, options=None, **values):
    settings = Settings().changed({"sd_model_checkpoint": "base", "randn_source": "CPU", **(options or {})})
    order = Order(job="t", request=make_request({**SMALL, **values}), seed=5, options=settings.flat(), done=frozenset())
    return list(engine.run(order, Cancel()))


def ready(events):
    assert isinstance(events[-1], Done), events[-1]
    return next(e for e in events if isinstance(e, ImageReady))


def pixels(events):
    return np.asarray(Image.open(io.BytesIO(ready(events).data)), dtype=int)


def fields(events):
    return parse_infotext(ready(events).infotext).fields


def far(a, b):
    return np.abs(pixels(a) - pixels(b)).mean()


def test_it_takes_over_and_leaves_the_base_as_it_was(engine):
    before = run(engine)
    refined = run(engine, refiner_checkpoint="second", refiner_switch_at=0.5)
    after = run(engine)
    assert np.array_equal(pixels(before), pixels(after))
    assert far(before, refined) > 1
    assert not any(isinstance(e, Loading) for e in after)
    assert not any(isinstance(e, Loading) for e in run(engine, refiner_checkpoint="second", refiner_switch_at=0.5))


def test_infotext_tells_of_it_once_it_took_over(engine):
    found = fields(run(engine, refiner_checkpoint="second.safetensors", refiner_switch_at=0.5))
    assert found["Refiner"].startswith("second [")
    assert found["Refiner switch at"] == "0.5"
    assert found["Model"] == "base"
    never = fields(run(engine, refiner_checkpoint="second", refiner_switch_at=1.0))
    assert "Refiner" not in never
    assert np.array_equal(pixels(run(engine, refiner_checkpoint="second", refiner_switch_at=1.0)), pixels(run(engine)))


def test_from_the_beginning_it_is_its_own_picture(engine):
    alone = run(engine, options={"sd_model_checkpoint": "second"})
    for at in (None, 0.0):
        assert np.array_equal(pixels(run(engine, refiner_checkpoint="second", refiner_switch_at=at)), pixels(alone))


def test_steps_and_noise_switch_at_different_points(engine):
    # of Karras's six steps the third begins at time 620 or so, after a third of the steps
    values = {"refiner_checkpoint": "second", "refiner_switch_at": 0.35, "scheduler": "Karras"}
    by_noise, by_steps = run(engine, **values), run(engine, options={"refiner_switch_by_sample_steps": True}, **values)
    assert far(by_noise, by_steps) > 0
    assert fields(by_steps)["Refiner switch by sampling steps"] == "True"
    assert "Refiner switch by sampling steps" not in fields(by_noise)


@pytest.mark.parametrize("sampler", ["Heun", "Euler CFG++", "DDIM", "LCM"])
def test_samplers_that_ask_otherwise(engine, sampler):
    refined = run(engine, sampler_name=sampler, refiner_checkpoint="second", refiner_switch_at=0.3)
    assert "Refiner" in fields(refined)
    assert far(run(engine, sampler_name=sampler), refined) > 0.5


def test_the_base_as_its_own_refiner_changes_nothing(engine):
    found = run(engine, refiner_checkpoint="base", refiner_switch_at=0.5)
    assert np.array_equal(pixels(found), pixels(run(engine)))
    assert "Refiner" not in fields(found)


def test_every_batch_begins_with_the_base(engine):
    values = {"refiner_checkpoint": "second", "refiner_switch_at": 0.5}
    both = [e for e in run(engine, n_iter=2, **values) if isinstance(e, ImageReady)]
    alone = [e for e in run(engine, n_iter=1, **values) if isinstance(e, ImageReady)]
    assert both[0].data == alone[0].data
    assert "Refiner: second" in both[1].infotext


@pytest.mark.parametrize("name", ["nowhere", "flow"])
def test_a_refiner_that_cannot_be_is_one_sentence(engine, name):
    event = run(engine, refiner_checkpoint=name, refiner_switch_at=0.5)[-1]
    assert isinstance(event, Failed)
    assert event.field == "refiner_checkpoint"
    assert event.message.startswith(f'refiner_checkpoint "{name}" ')
    assert isinstance(run(engine)[-1], Done)


def test_vae_files(folder, engine):
    own, bare, whole = (run(engine, options={"sd_vae": name}) for name in ("None", "bare", "whole.safetensors"))
    assert far(own, bare) > 1
    assert np.array_equal(pixels(bare), pixels(whole))
    short = hashlib.sha256((folder / "models" / "VAE" / "bare.safetensors").read_bytes()).hexdigest()[:10]
    assert (fields(bare)["VAE"], fields(bare)["VAE hash"]) == ("bare.safetensors", short)
    assert list(fields(bare))[7:10] == ["Model", "VAE hash", "VAE"]
    assert not {"VAE", "VAE hash"} & fields(own).keys()
    silent = fields(
        run(engine, options={"sd_vae": "bare", "add_vae_name_to_info": False, "add_vae_hash_to_info": False})
    )
    assert not {"VAE", "VAE hash"} & silent.keys()
    assert np.array_equal(pixels(run(engine)), pixels(own))
    assert bare[-1].info["sd_vae_name"] == "bare.safetensors"
    assert [e.name for e in bare if isinstance(e, Loading)] == ["bare.safetensors"]  # the rest of the model stays


def test_vae_beside_the_checkpoint(folder, engine):
    beside = folder / "models" / "Stable-diffusion" / "second.vae.safetensors"
    second = {"sd_model_checkpoint": "second"}
    own = run(engine, options=second)
    beside.write_bytes((folder / "models" / "VAE" / "bare.safetensors").read_bytes())
    try:
        assert fields(run(engine, options=second))["VAE"] == "second.vae.safetensors"
        assert far(run(engine, options=second), own) > 1
        assert np.array_equal(pixels(run(engine, options={**second, "sd_vae": "None"})), pixels(own))
    finally:
        beside.unlink()


@pytest.mark.parametrize(("name", "words"), [("nowhere", 'sd_vae "nowhere" is not known'), ("lora", "is a LoRA")])
def test_a_vae_that_cannot_be_is_one_sentence(engine, name, words):
    event = run(engine, options={"sd_vae": name})[-1]
    assert isinstance(event, Failed)
    assert words in event.message
    assert isinstance(run(engine)[-1], Done)


def test_settings_of_noise_levels(engine):
    plain, downcast = run(engine), run(engine, options={"use_downcasted_alpha_bar": True})
    assert fields(downcast)["Downcast alphas_cumprod"] == "True"
    assert 0 < far(plain, downcast) < 30
    both = {"use_downcasted_alpha_bar": True, "sd_noise_schedule": "Zero Terminal SNR"}
    assert (
        ", Downcast alphas_cumprod: True, Noise Schedule: Zero Terminal SNR, "
        in ready(run(engine, options=both)).infotext
    )
