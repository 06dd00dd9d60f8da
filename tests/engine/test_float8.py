"""The setting FP8 weight through the whole engine."""

import pytest
import torch

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.devices.residence import Meter, OneAtATime, Streamed
from modules.engine.build import build_engine
from modules.engine.room import modules_of
from modules.images.infotext import parse_infotext
from modules.jobs.executors.base import Cancel
from modules.patches.fused_projections import fuse
from modules.requests.events import ImageReady, Order
from modules.requests.txt2img import make_request
from tests.networks.files import write_lora
from tests.tiny import write_tiny


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    root = tmp_path_factory.mktemp("float8")
    torch.manual_seed(0)
    write_tiny(root / "models" / "Stable-diffusion" / "tiny.safetensors")
    write_lora(root / "models" / "Lora" / "one.safetensors")
    return build_engine(paths=Paths(data=root), use_cpu=True)


def draw(engine, fp8="Disable", prompt="a star"):
    chosen = {"sd_model_checkpoint": "tiny", "live_previews_enable": False, "fp8_storage": fp8}
    request = make_request({"width": 64, "height": 64, "steps": 3, "sampler_name": "Euler", "prompt": prompt})
    order = Order(job="test", request=request, seed=1, options=Settings().changed(chosen).flat())
    (ready,) = [event for event in engine.run(order, Cancel()) if isinstance(event, ImageReady)]
    return ready


def test_pictures_differ_and_leave_nothing(engine):
    plain = draw(engine)
    rounded = draw(engine, "Enable")
    assert rounded.data != plain.data
    assert draw(engine, "Enable for SDXL").data == plain.data  # this is SD 1.x
    assert draw(engine).data == plain.data
    assert draw(engine, "Enable").data == rounded.data


def test_networks_are_added_to_rounded_weights(engine):
    rounded = draw(engine, "Enable")
    with_lora = draw(engine, "Enable", "a star <lora:one:1>")
    assert with_lora.data not in (rounded.data, draw(engine, prompt="a star <lora:one:1>").data)
    assert draw(engine, "Enable").data == rounded.data


def test_the_infotext_says_it(engine):
    infotext = draw(engine, "Enable").infotext
    assert parse_infotext(infotext).fields["FP8 weight"] == "Enable"
    assert "FP8 weight" not in draw(engine).infotext
    assert "FP8 weight" not in draw(engine, "Enable for SDXL").infotext


@pytest.mark.parametrize("policy", [OneAtATime, Streamed])
def test_what_is_lent_is_a_byte_a_weight(policy, engine):
    wanted = draw(engine, "Enable").data
    models = engine._tools.models
    with torch.inference_mode():
        model = models.load("tiny", float8="Enable")
    meter = Meter()
    lending = policy(torch.device("cpu"), meter)
    lending.attach([[module] for module in modules_of(model)])
    object.__setattr__(models._kept.last, "policy", lending)
    assert draw(engine, "Enable").data == wanted
    largest = max(sum(p.numel() for p in module.parameters()) for module in modules_of(model))
    assert 0 < meter.peak < 2 * largest


def test_fused_projections_compute_the_same(engine):
    model = engine._tools.models.load("tiny", float8="Enable")
    assert fuse(model.backbone) == 0
