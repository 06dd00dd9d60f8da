"""The engine on a tiny model of random weights: what it tells, in which order, and what it draws."""

import importlib.util
import io
import sys

import pytest
import torch
from PIL import Image

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.engine import LATER
from modules.images.encode import read_infotext
from modules.images.infotext import parse_infotext, to_request_values
from modules.jobs.executors.base import Cancel
from modules.requests.catalogue import SHIPPED, Catalogue, HardwareEntry
from modules.requests.events import Done, Failed, ImageReady, Loading, Order, Preview, Progress
from modules.requests.txt2img import make_request
from modules.scripts.build import build_engine
from tests.server import until
from tests.tiny import write_tiny

SMALL = {"prompt": "a red star", "width": 64, "height": 64, "steps": 4, "sampler_name": "Euler a"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    data = tmp_path_factory.mktemp("engine")
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    write_tiny(data / "models" / "Stable-diffusion" / "other.safetensors", seed=1)
    (data / "models" / "Stable-diffusion" / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{broken}")
    return build_engine(paths=Paths(data=data), use_cpu=True)


def run(engine, *, cancel=None, done=(), options=None, seed=11, **values):
    settings = Settings().changed({"sd_model_checkpoint": "tiny", "show_progress_every_n_steps": 1, **(options or {})})
    request = make_request({**SMALL, **values})
    order = Order(job="test", request=request, seed=seed, options=settings.flat(), done=frozenset(done))
    return list(engine.run(order, cancel or Cancel()))


def pictures(events):
    return [event for event in events if isinstance(event, ImageReady)]


def test_what_takes_long_to_import_is_there_before_it_is_needed(tmp_path, monkeypatch):
    write_tiny(tmp_path / "models" / "Stable-diffusion" / "tiny.safetensors")
    (tmp_path / "needed_later.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("modules.engine.engine.LATER", "needed_later")
    engine = build_engine(paths=Paths(data=tmp_path), use_cpu=True, warm="tiny")
    run(engine)
    until(lambda: "needed_later" in sys.modules, 60)
    assert importlib.util.find_spec(LATER)


def test_events_of_a_whole_job(engine):
    run(engine, options={"sd_model_checkpoint": "other"})
    events = run(engine, n_iter=2, batch_size=2)
    assert isinstance(events[0], Loading)
    assert isinstance(events[-1], Done)
    assert not events[-1].stopped
    steps = [(e.batch, e.step) for e in events if isinstance(e, Progress)]
    assert steps == [(batch, step) for batch in range(2) for step in range(5)]
    assert 1 <= len([e for e in events if isinstance(e, Preview)]) <= 6  # of a picture this small they take much
    assert [(e.index, e.seed) for e in pictures(events)] == [(0, 11), (1, 12), (2, 13), (3, 14)]
    assert events[-1].info["all_seeds"] == [11, 12, 13, 14]


def test_picture_carries_its_infotext_and_the_infotext_its_request(engine):
    event = pictures(run(engine, negative_prompt="blurry", cfg_scale=5.5))[0]
    assert read_infotext(event.data) == event.infotext
    assert Image.open(io.BytesIO(event.data)).size == (64, 64)
    values = to_request_values(parse_infotext(event.infotext))
    again = pictures(run(engine, **{k: v for k, v in values.items() if k != "seed"}, seed=int(values["seed"])))[0]
    assert again.data == event.data


def test_same_settings_same_picture_whatever_the_batch(engine):
    together = pictures(run(engine, batch_size=3))
    alone = pictures(run(engine, seed=12))[0]
    pixels = [torch.tensor(list(Image.open(io.BytesIO(e.data)).tobytes())) for e in (together[1], alone)]
    assert (pixels[0] - pixels[1]).abs().max() <= 1
    assert together[0].data != together[1].data


def test_pictures_that_are_done_are_not_drawn_again(engine):
    events = run(engine, n_iter=3, batch_size=2, done=[0, 1, 2])
    assert [e.index for e in pictures(events)] == [3, 4, 5]
    assert {e.batch for e in events if isinstance(e, Progress)} == {1, 2}


class Wishes(Cancel):
    """Asks after a number of looks."""

    def __init__(self, wish, looks):
        super().__init__()
        self.wish, self.looks = wish, looks

    @property
    def interrupted(self):
        self.looks -= 1
        if self.looks == 0:
            self.ask(self.wish)
        return self._interrupted


def test_interrupt_hands_over_what_there_is_and_stops(engine):
    events = run(engine, n_iter=3, cancel=Wishes("interrupt", 3))
    assert events[-1].stopped
    assert [(e.index, e.incomplete) for e in pictures(events)] == [(0, True)]


def test_finish_ends_with_the_whole_batch(engine):
    events = run(engine, n_iter=3, batch_size=2, cancel=Wishes("finish", 3))
    assert events[-1].stopped
    assert [(e.index, e.incomplete) for e in pictures(events)] == [(0, False), (1, False)]
    events = run(engine, n_iter=1, cancel=Wishes("finish", 3))
    assert not events[-1].stopped  # nothing is missing


def test_skip_goes_on_with_the_next_batch(engine):
    events = run(engine, n_iter=3, cancel=Wishes("skip", 3))
    assert not events[-1].stopped
    assert [(e.index, e.incomplete) for e in pictures(events)] == [(0, True), (1, False), (2, False)]


@pytest.mark.parametrize("name", ["broken", "nothere"])
def test_bad_checkpoint_is_one_sentence_and_the_engine_goes_on(engine, name):
    before = pictures(run(engine))[0]
    event = run(engine, options={"sd_model_checkpoint": name})[-1]
    assert isinstance(event, Failed)
    assert name in event.message
    assert event.kind in ("ModelFileError", "UnknownName")
    after = run(engine)
    assert not any(isinstance(e, Loading) for e in after)
    assert pictures(after)[0].data == before.data


def test_full_preview(engine):
    run(engine, options={"sd_model_checkpoint": "other"})  # whose previews owe no time
    events = run(engine, options={"show_progress_type": "Full"})
    preview = next(e for e in events if isinstance(e, Preview))
    assert Image.open(io.BytesIO(preview.data)).size == (64, 64)


def test_shipped_catalogue_is_what_the_engine_publishes(engine):
    assert engine.catalogue.hardware == HardwareEntry(precision="float32")
    assert Catalogue.model_validate_json(SHIPPED.read_bytes()) == engine.catalogue.model_copy(update={"hardware": None})
