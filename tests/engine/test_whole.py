"""Checkpoints that run as whole pipelines, from the folder to the picture."""

import io
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine import models
from modules.engine.build import build_engine
from modules.engine.context import Context
from modules.engine.txt2img import txt2img
from modules.families.whole.kinds import load_whole
from modules.images.infotext import parse_infotext
from modules.jobs.executors.base import Cancel
from modules.requests.events import Done, Failed, ImageReady, Order, Progress, Warned
from modules.requests.txt2img import make_request
from tests.families.whole import tiny
from tests.tiny import write_tiny

UNCLIP = "unclip"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    data = tmp_path_factory.mktemp("whole")
    models = data / "models" / "Stable-diffusion"
    tiny.write(models, UNCLIP, "kandinsky-decoder", "kandinsky-prior")
    shutil.copytree(models / "kandinsky-decoder", models / "alone/kandinsky")
    write_tiny(models / "one.safetensors")
    return data


@pytest.fixture(scope="module")
def engine(folder):
    return build_engine(paths=Paths(data=folder), use_cpu=True)


def order_of(model, *, options=None, done=frozenset(), **values):
    settings = Settings().changed({"sd_model_checkpoint": model, "randn_source": "CPU", **(options or {})})
    small = {"prompt": "a red star", "width": 64, "height": 64, "steps": 2, "cfg_scale": 4, **values}
    return Order(job="t", request=make_request(small), seed=5, options=settings.flat(), done=done)


def run(engine, model=UNCLIP, **values):
    return list(engine.run(order_of(model, **values), Cancel()))


def pictures(events):
    assert isinstance(events[-1], Done), events[-1]
    found = {e.index: Image.open(io.BytesIO(e.data)) for e in events if isinstance(e, ImageReady)}
    return {index: np.asarray(image, dtype=int) for index, image in found.items()}


def test_pictures_do_not_depend_on_their_batch(engine):
    together = pictures(run(engine, batch_size=2))
    assert together[0].shape == (64, 64, 3)
    assert np.abs(together[0] - together[1]).mean() > 1
    assert np.array_equal(pictures(run(engine))[0], together[0])
    assert list(pictures(run(engine, batch_size=2, done=frozenset({0})))) == [1]


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": "a blue star"},
        {"negative_prompt": "a house"},
        {"steps": 3},
        {"cfg_scale": 8},
        {"seed": 6, "subseed": 7, "subseed_strength": 0.5},
        {"options": {"randn_source": "NV"}},
    ],
)
def test_what_is_asked_for_makes_a_difference(engine, values):
    assert not np.array_equal(pictures(run(engine, **values))[0], pictures(run(engine))[0])


def test_it_says_what_is_not_heeded(engine):
    told = [e.message for e in run(engine, prompt="star <lora:x:1>", eta=0.5) if isinstance(e, Warned)]
    assert len(told) == 1
    assert "sampler_name, scheduler, eta, <lora:...> have no effect" in told[0]


def test_the_infotext_names_the_pipeline_and_no_sampler(engine):
    ready = next(e for e in run(engine) if isinstance(e, ImageReady))
    fields = parse_infotext(ready.infotext).fields
    assert fields["Pipeline"] == "Stable unCLIP"
    assert fields["Model"] == UNCLIP
    assert fields["Steps"] == "2"
    assert "Sampler" not in fields


def test_progress_counts_the_prior_too(engine):
    steps = [e for e in run(engine, batch_size=2, n_iter=2) if isinstance(e, Progress)]
    assert {e.steps for e in steps} == {2 * (25 + 2)}
    assert [e.step for e in steps if e.batch == 1] == list(range(1, 55))


def stopped_at_the_first_picture(engine, wish, **values):
    """What was told of a job that is asked to stop, or to skip a batch, by who gets its first picture."""
    told, cancel = [], Cancel()

    def emit(event):
        told.append(event)
        if isinstance(event, ImageReady) and len([e for e in told if isinstance(e, ImageReady)]) == 1:
            cancel.ask(wish)

    with torch.inference_mode():
        told.append(txt2img(order_of(UNCLIP, **values), engine._tools, Context(emit=emit, cancel=cancel)))
    return told


def test_it_stops_when_asked_and_the_next_job_is_as_ever(engine):
    before = pictures(run(engine))[0]
    told = stopped_at_the_first_picture(engine, "interrupt", batch_size=2, n_iter=2)
    assert list(pictures(told)) == [0]
    assert told[-1].stopped
    assert len([e for e in told if isinstance(e, Progress)]) == 27 + 1
    assert np.array_equal(pictures(run(engine))[0], before)


def test_it_skips_to_the_next_batch(engine):
    told = stopped_at_the_first_picture(engine, "skip", batch_size=2, n_iter=2)
    assert list(pictures(told)) == [0, 2, 3]
    assert not told[-1].stopped


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("freeu", {"freeu": {}}),
        ("perturbed_attention_guidance", {"perturbed_attention_guidance": {}}),
        ("cfg_rescale", {"cfg_rescale": 0.5}),
        ("refiner_checkpoint", {"refiner_checkpoint": "one"}),
        ("tiling", {"tiling": True}),
        ("token_merging_ratio", {"options": {"token_merging_ratio": 0.5}}),
    ],
)
def test_techniques_are_refused_by_name(engine, field, values):
    failed = run(engine, **values)[-1]
    assert isinstance(failed, Failed)
    assert failed.field == field
    assert failed.message.startswith(f"{field} is not possible with Stable unCLIP")


def test_sizes_it_does_not_draw(engine):
    failed = run(engine, "kandinsky-decoder", width=96)[-1]
    assert isinstance(failed, Failed)
    assert (failed.field, failed.message) == (
        "width",
        "width is 96: Kandinsky 2.2 draws multiples of 64 pixels. Use 64 or 128.",
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("alone/kandinsky", '"kandinsky" is Kandinsky 2.2 without its prior. Put that folder beside it.'),
        ("kandinsky-prior", '"kandinsky-prior" is the prior of Kandinsky 2.2 and draws nothing alone.'),
    ],
)
def test_halves_are_refused_and_the_model_before_stays(engine, model, message):
    before = pictures(run(engine))[0]
    failed = run(engine, model)[-1]
    assert isinstance(failed, Failed)
    assert failed.message.startswith(message)
    assert np.array_equal(pictures(run(engine))[0], before)


def test_it_takes_turns_with_other_checkpoints(engine):
    before = pictures(run(engine))[0]
    other = pictures(run(engine, "one.safetensors"))[0]
    assert np.array_equal(pictures(run(engine, "kandinsky-decoder"))[0], pictures(run(engine, "kandinsky-decoder"))[0])
    assert np.array_equal(pictures(run(engine))[0], before)
    assert np.array_equal(pictures(run(engine, "one.safetensors"))[0], other)


def test_what_was_loaded_makes_room_for_it(engine, monkeypatch):
    before = pictures(run(engine))[0]
    run(engine, "one.safetensors")
    tries = []

    def tight(path, compute):
        tries.append(path)
        if len(tries) == 1:
            raise torch.OutOfMemoryError("out of memory")
        return load_whole(path, compute)

    monkeypatch.setattr(models, "load_whole", tight)
    assert np.array_equal(pictures(run(engine))[0], before)
    assert len(tries) == 2


def test_it_is_no_refiner(engine):
    failed = run(engine, "one.safetensors", refiner_checkpoint=UNCLIP, refiner_switch_at=0.5)[-1]
    assert isinstance(failed, Failed)
    assert failed.message.startswith(f'"{UNCLIP}" runs as a whole pipeline, which does text to image alone.')


def test_nan_is_no_picture(engine, monkeypatch):
    def draw(pipeline, ask):
        return torch.full((1, 3, ask.height, ask.width), float("nan"))

    assert isinstance(run(engine, UNCLIP)[-1], Done)
    with monkeypatch.context() as patch:
        patch.setattr("modules.families.whole.unclip.StableUnclip.draw", draw)
        events = run(engine, UNCLIP)
    assert isinstance(events[-1], Failed)
    assert "gave NaN in float32; no picture is saved" in events[-1].message
    assert not [event for event in events if isinstance(event, ImageReady)]
    assert isinstance(run(engine, UNCLIP)[-1], Done)
