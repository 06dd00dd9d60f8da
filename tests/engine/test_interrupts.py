"""R18: whatever a job is at when it is interrupted, it ends within a step, what is finished stays, and the next one is as ever."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine import drawing
from modules.engine.build import build_engine
from modules.jobs.executors.base import Cancel
from modules.requests.events import Done, ImageReady, Order
from modules.requests.txt2img import make_request
from tests.engine.test_families import pictures
from tests.tiny import write_tiny

VALUES: dict[str, Any] = {"width": 64, "height": 64, "steps": 4, "sampler_name": "Euler", "n_iter": 3}
CALLS = 4  # of the network, for one picture


@pytest.fixture
def engine(tmp_path):
    write_tiny(tmp_path / "models" / "Stable-diffusion" / "one.safetensors")
    return build_engine(paths=Paths(data=tmp_path), use_cpu=True)


def run(engine, cancel, **values):
    options = Settings().changed({"sd_model_checkpoint": "one.safetensors"}).flat()
    request = make_request({**VALUES, "prompt": "a red star", **values})
    return list(engine.run(Order(job="t", request=request, seed=5, options=options), cancel))


class Interruption:
    """Interrupts a job when something is called for the `at`th time, and counts the network's calls after that."""

    def __init__(self, engine, monkeypatch) -> None:
        self.engine, self.monkeypatch = engine, monkeypatch
        self.cancel, self.after = Cancel(), 0

    def at(self, owner: object, name: str, at: int = 1) -> None:
        real, seen = getattr(owner, name), []

        def called(*args: Any, **kwargs: Any) -> Any:
            seen.append(1)
            if len(seen) == at:
                self.cancel.ask("interrupt")
            return real(*args, **kwargs)

        self.monkeypatch.setattr(owner, name, called)

    def count(self, model) -> None:
        model.backbone.register_forward_pre_hook(self._count)

    def _count(self, module: object, inputs: object) -> None:
        self.after += self.cancel.interrupted


def model_of(engine):
    return engine._tools.models.load("one.safetensors")


STAGES: dict[str, tuple[Callable[[Interruption], None], int]] = {
    "load": (lambda i: i.at(i.engine._tools.models, "_built"), 0),
    "encode": (lambda i: i.at(i.engine._tools.conditions, "guides"), 0),
    "sampling": (lambda i: i.at(model_of(i.engine).backbone.conv_in, "forward", CALLS + 2), 2),
    "VAE": (lambda i: i.at(model_of(i.engine).autoencoder, "_decode", 2), 2),
    "save": (lambda i: i.at(drawing, "finish", 2), 2),
}
"""How a job is interrupted at a stage, and how many pictures of it there are then, an incomplete one among them."""


@pytest.mark.parametrize("stage", STAGES)
def test_R18_interrupted_at(stage, engine, monkeypatch):
    wanted = None
    if stage != "load":
        wanted = pictures(run(engine, Cancel(), n_iter=1))
    begin, count = STAGES[stage]
    interruption = Interruption(engine, monkeypatch)
    begin(interruption)
    if stage != "load":
        interruption.count(model_of(engine))
    events = run(engine, interruption.cancel)
    monkeypatch.undo()
    assert isinstance(events[-1], Done)
    assert events[-1].stopped
    drawn = [event for event in events if isinstance(event, ImageReady)]
    assert len(drawn) == count
    assert [event.incomplete for event in drawn] == ([False, stage == "sampling"] if count else [])
    assert interruption.after <= 1  # the step that was being computed
    again = pictures(run(engine, Cancel(), n_iter=1))
    assert wanted is None or np.array_equal(again, wanted)
