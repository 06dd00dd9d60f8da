"""Networks through the whole engine: pictures, infotexts, warnings, refusals."""

import gc

import pytest
import torch

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.devices.residence import Meter, OneAtATime, Streamed
from modules.engine.build import build_engine
from modules.engine.room import modules_of
from modules.images.infotext import parse_infotext
from modules.jobs.executors.base import Cancel
from modules.library.hashes import HashCache
from modules.networks.extra_networks import ExtraNetworks
from modules.networks.finder import Finder
from modules.requests.events import Failed, ImageReady, Order, Warned
from modules.requests.txt2img import make_request
from tests.networks.files import write, write_lora
from tests.networks.test_extra_networks import asked
from tests.networks.test_hypernetworks import layers, saved
from tests.tiny import write_tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("networks")
    write_tiny(root / "models" / "Stable-diffusion" / "tiny.safetensors")
    write_lora(root / "models" / "Lora" / "one.safetensors")
    write(root / "embeddings" / "sparkle.safetensors", {"emb_params": torch.randn(2, 64) * 9})
    torch.manual_seed(0)
    (root / "models" / "hypernetworks").mkdir()
    saved(root / "models" / "hypernetworks" / "hyper.pt", {64: (layers(64), layers(64)), 32: (layers(32), layers(32))})
    return root


@pytest.fixture(scope="module")
def engine(data):
    return build_engine(paths=Paths(data=data), use_cpu=True)


def run(engine, prompt, **values):
    settings = Settings().changed(
        {"sd_model_checkpoint": "tiny", "live_previews_enable": False, "enable_pnginfo": False}
    )
    request = make_request(
        {"width": 64, "height": 64, "steps": 3, "sampler_name": "Euler", "cfg_scale": 3, **values, "prompt": prompt}
    )
    return list(engine.run(Order(job="test", request=request, seed=1, options=settings.flat()), Cancel()))


def draw(engine, prompt, **values):
    (ready,) = [event for event in run(engine, prompt, **values) if isinstance(event, ImageReady)]
    return ready


def test_networks_are_seen_and_leave_nothing(engine):
    plain = draw(engine, "a star").data
    pictures = [plain]
    for prompt in (
        "a star <lora:one:1>",
        "a star <lora:one:0.5>",
        "a star <lora:one:1:start=2>",
        "a star <hypernet:hyper:1>",
    ):
        pictures.append(draw(engine, prompt).data)
        assert draw(engine, "a star").data == plain, prompt
    pictures.append(draw(engine, "a sparkle star").data)
    assert len(set(pictures)) == len(pictures)
    assert draw(engine, "a star <lora:one:0>").data == plain
    assert draw(engine, "a star", negative_prompt="sparkle").data != plain


def test_infotext_and_info(engine):
    ready = draw(engine, "a sparkle <lora:one:0.5>")
    parsed = parse_infotext(ready.infotext)
    assert parsed.prompt == "a sparkle <lora:one:0.5>"
    assert parsed.fields["Lora hashes"].strip('"').startswith("one: ")
    assert parsed.fields["TI hashes"].strip('"').startswith("sparkle: ")
    assert list(parsed.fields)[-3:] == ["Lora hashes", "TI hashes", "Version"]
    done = run(engine, "a <lora:one:0.5>")[-1]
    assert set(done.info["extra_generation_params"]) == {"Lora hashes"}


def test_what_is_missing_is_told_and_the_job_goes_on(engine):
    events = run(engine, "a star <lora:onne:1>")
    assert [e.message for e in events if isinstance(e, Warned)] == ["Networks not found: onne. Nearest: one."]
    assert any(isinstance(event, ImageReady) for event in events)


@pytest.mark.parametrize(
    ("prompt", "kind", "words"),
    [
        ("<lora:one:many>", "InputError", '"many" where a number'),
        ("<lora:xl:1>", "InputError", "is for Stable Diffusion XL"),
        ("<hypernet:wide:1>", "InputError", "none of its 1 layers fits"),
        ("<lora:broken:1>", "ModelFileError", "is incomplete"),
        ("<hypernet:page:1>", "ModelFileError", "web page"),
    ],
)
def test_what_cannot_be_used_is_refused_before_the_first_step(engine, data, prompt, kind, words):
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    loras, hyper = data / "models" / "Lora", data / "models" / "hypernetworks"
    write(
        loras / "xl.safetensors",
        {f"{name}.lora_up.weight": torch.ones(9, 2), f"{name}.lora_down.weight": torch.ones(2, 2048)},
    )
    (loras / "broken.safetensors").write_bytes(b"\0" * 4)
    saved(hyper / "wide.pt", {768: (layers(768), layers(768))})
    (hyper / "page.pt").write_bytes(b"<html>")
    *before, failed = run(engine, prompt)
    assert isinstance(failed, Failed)
    assert (failed.kind, words in failed.message) == (kind, True), failed.message
    assert not any(isinstance(event, ImageReady) for event in before)


@pytest.mark.parametrize("policy", [OneAtATime, Streamed])
def test_weights_that_are_lent_are_changed_too(policy, data):
    """Under a policy the device's copies are those of the changed weights, and of the first ones afterwards."""
    engine = build_engine(paths=Paths(data=data), use_cpu=True)
    plain, expected = (draw(engine, prompt).data for prompt in ("a star", "a star <lora:one:1>"))
    models = engine._tools.models
    with torch.inference_mode():
        model = models.load("tiny")
    lending = policy(CPU, Meter())
    lending.attach([[module] for module in modules_of(model)])
    kept = models._kept.last
    object.__setattr__(kept, "policy", lending)
    for prompt, right in (("a star", plain), ("a star <lora:one:1>", expected), ("a star", plain)):
        assert draw(engine, prompt).data == right, (policy, prompt)


def test_a_model_that_is_gone_is_not_held(data):
    networks = ExtraNetworks(Finder(Paths(data=data), HashCache(data / "cache")))
    engine = build_engine(paths=Paths(data=data), use_cpu=True)
    with torch.inference_mode():
        models = [engine._tools.models.load("tiny")]
        with networks.applied(models[0], asked("<lora:one:1>"), print):
            pass
        backbone = networks._last["unet"].backbone
        engine._tools.models.unload()
        models.clear()
        gc.collect()
        assert backbone() is None
        assert networks._last == {}
