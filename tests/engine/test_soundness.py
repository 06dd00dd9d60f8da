"""NaN in a step or in the VAE: found, told, mended by computing more precisely, and never saved as a picture."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from modules.control.models import ControlModels
from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.detect.detectors import Detectors
from modules.devices.attention import Attentions
from modules.devices.choice import Compute
from modules.devices.residence import Meter, OneAtATime
from modules.engine.engine import Engine
from modules.engine.models import Models
from modules.engine.soundness import next_vae_type
from modules.engine.tiers import units_of
from modules.engine.toolbox import Toolbox
from modules.jobs.executors.base import Cancel
from modules.library.checkpoints import Checkpoints
from modules.library.controls import ControlFiles
from modules.library.detectors import DetectorFiles
from modules.library.hashes import HashCache
from modules.library.merge_files import MergeFiles
from modules.library.styles import Styles
from modules.library.upscalers import UpscalerFiles
from modules.library.wildcards import Wildcards
from modules.networks.extra_networks import ExtraNetworks
from modules.networks.finder import Finder
from modules.requests.catalogue import Catalogue
from modules.requests.events import Done, Failed, ImageReady, Loading, Order, Warned
from modules.requests.txt2img import make_request
from modules.sampling.registry import build_samplers
from modules.sampling.schedules import build_schedules
from modules.upscale.upscalers import Networks, Upscalers
from tests.tiny import ldm_tensors, tiny_parts

CPU = torch.device("cpu")
UNET, VAE = "model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.decoder.conv_in.weight"
FACTOR = 1e5
"""What makes a layer's results too large for float16, while its weights are not."""

SMALL = {"prompt": "a red star", "width": 64, "height": 64, "steps": 4, "sampler_name": "Euler"}


def write(folder: Path, name: str, **factors: float) -> None:
    tensors = ldm_tensors(tiny_parts())
    for key, factor in {UNET: factors.get("unet", 1), VAE: factors.get("vae", 1)}.items():
        tensors[key] = tensors[key] * factor
    save_file(tensors, folder / f"{name}.safetensors")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("soundness")
    folder = root / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    write(folder, "good")
    write(folder, "large", unet=FACTOR)
    write(folder, "bright", vae=FACTOR)
    write(folder, "broken", unet=float("nan"))
    write(folder, "dark", vae=float("nan"))
    return root


def build(data: Path, *, dtype: torch.dtype = torch.float16, nan_check: bool = True, **more: Any) -> tuple[Engine, Any]:
    """An engine in half precision on the CPU, and its models."""
    paths, hashes = Paths(data=data), HashCache(data / "cache")
    checkpoints = Checkpoints(paths.networks, hashes)
    compute = Compute(device=CPU, dtype=dtype, vae_dtype=dtype, **more)
    models = Models(checkpoints, compute)
    tools = Toolbox(
        models=models,
        attentions=Attentions(CPU),
        files=MergeFiles(paths, checkpoints),
        wildcards=Wildcards(paths),
        styles=Styles(paths),
        controls=ControlModels(ControlFiles(paths), compute, paths),
        networks=ExtraNetworks(Finder(paths, hashes)),
        samplers=build_samplers(),
        schedules=build_schedules(),
        upscalers=Upscalers(UpscalerFiles(paths), Networks(compute)),
        detectors=Detectors(DetectorFiles(paths)),
        catalogue=Catalogue(
            samplers=tuple(s.entry for _, s in build_samplers().items()),
            schedules=tuple(s.entry for _, s in build_schedules().items()),
        ),
        nan_check=nan_check,
    )
    return Engine(tools), models


def run(
    engine: Engine, name: str, options: dict[str, Any] | None = None, *, cancel: Cancel | None = None, **values: Any
) -> list[Any]:
    settings = Settings().changed({"sd_model_checkpoint": name, "randn_source": "CPU", **(options or {})})
    order = Order(job="t", request=make_request({**SMALL, **values}), seed=5, options=settings.flat())
    return list(engine.run(order, cancel or Cancel()))


def pictures(events: list[Any]) -> list[bytes]:
    return [event.data for event in events if isinstance(event, ImageReady)]


def told(events: list[Any]) -> list[str]:
    return [event.message for event in events if isinstance(event, Warned)]


def loads(events: list[Any]) -> int:
    return len([event for event in events if isinstance(event, Loading)])


@pytest.mark.parametrize(
    ("native", "words"), [(False, "float32 with weights in float16"), (True, "bfloat16")], ids=["Turing", "Ampere"]
)
def test_steps_that_overflow_are_computed_more_precisely_from_then_on(data, native, words):
    engine, models = build(data, bfloat16=native)
    events = run(engine, "large", n_iter=2)
    assert isinstance(events[-1], Done)
    assert told(events) == [f'Step 1 of 4 of "large" gave NaN in float16; the batch is drawn again in {words}.']
    assert models.load("large").compute.words == words
    again = run(engine, "large", n_iter=2)
    assert (told(again), loads(again)) == ([], 0)
    assert pictures(again) == pictures(events)
    assert len(pictures(events)) == 2


def test_only_the_batch_in_work_is_drawn_again(data):
    engine, models = build(data)
    calls = []

    def fail(module: Any, inputs: Any, output: Any) -> Any:
        calls.append(None)
        return (output[0] * float("nan"),) if len(calls) == 7 else output

    run(engine, "good")
    handle = models.load("good").backbone.register_forward_hook(fail)
    events = run(engine, "good", n_iter=2, cfg_scale=1)
    handle.remove()
    assert [event.index for event in events if isinstance(event, ImageReady)] == [0, 1]
    assert told(events)[0].startswith('Step 3 of 4 of "good" gave NaN')
    assert isinstance(events[-1], Done)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_R8_what_stays_nan_fails_and_leaves_the_next_job_alone(data, dtype):
    engine, models = build(data, dtype=dtype)
    before = pictures(run(engine, "good"))
    events = run(engine, "broken")
    assert isinstance(events[-1], Failed)
    assert events[-1].kind == "NotANumber"
    assert 'Step 1 of 4 of "broken" gave NaN in float32; no picture is saved.' in events[-1].message
    assert pictures(events) == []
    assert pictures(run(engine, "good")) == before
    assert models.load("broken").compute.dtype is dtype  # the next job tries what is quick first


@pytest.mark.parametrize(("wish", "drawn"), [("interrupt", []), ("skip", [1])])
def test_what_is_nan_is_no_incomplete_picture(data, wish, drawn):
    engine, models = build(data)
    run(engine, "good")
    cancel, calls = Cancel(), []

    def fail(module: Any, inputs: Any, output: Any) -> Any:
        calls.append(None)
        if len(calls) > 1:
            return output
        cancel.ask(wish)
        return (output[0] * float("nan"),)

    models.load("good").backbone.register_forward_hook(fail)
    events = run(engine, "good", n_iter=2, cancel=cancel)
    assert [event.index for event in events if isinstance(event, ImageReady)] == drawn
    assert (told(events), type(events[-1])) == ([], Done)


def test_without_the_check_it_is_drawn_as_it_is(data):
    engine, _ = build(data, nan_check=False)
    events = run(engine, "broken")
    assert (len(pictures(events)), told(events)) == (1, [])


def test_an_attention_that_does_not_work_is_told_of(data):
    engine, _ = build(data, dtype=torch.float32)
    expected = run(engine, "good")
    events = run(engine, "good", {"cross_attention_optimization": "sage"})
    assert told(events) == ['The attention "sage" needs an NVIDIA GPU; PyTorch\'s own is used.']
    assert pictures(events) == pictures(expected)
    other = run(engine, "good", {"cross_attention_optimization": "sub-quadratic", "upcast_attn": True})
    found, wanted = (np.asarray(Image.open(io.BytesIO(pictures(one)[0])), dtype=int) for one in (other, expected))
    assert (told(other), abs(found - wanted).max() <= 1) == ([], True)


def test_R7_a_vae_that_overflows_decodes_again_and_stays_precise(data):
    engine, models = build(data)
    events = run(engine, "bright")
    assert told(events) == ['The VAE "that of bright" gave NaN in float16; it computes in float32 from now on.']
    assert loads(events) == 1
    assert len(pictures(events)) == 1
    assert models.load("bright").compute.dtype is torch.float16
    run(engine, "good")
    again = run(engine, "bright")  # read again
    assert (told(again), loads(again)) == ([], 1)
    assert len(pictures(again)) == 1


def test_a_vae_whose_weights_a_policy_holds_is_read_again(data):
    engine, models = build(data)
    model = models.load("bright")
    policy = OneAtATime(CPU, Meter())
    policy.attach([unit for units in units_of(model).values() for unit in units])
    models._kept._all = (replace(models._kept.last, policy=policy),)
    events = run(engine, "bright", n_iter=2)
    assert told(events) == [
        'The VAE "that of bright" gave NaN in float16; it computes in float32 from now on. The batch is drawn again.'
    ]
    assert (loads(events), len(pictures(events))) == (1, 2)
    assert pictures(run(engine, "bright", n_iter=2)) == pictures(events)


def test_the_refiner_is_computed_more_precisely_where_it_is_what_overflows(data):
    engine, models = build(data)
    events = run(engine, "good", refiner_checkpoint="large", refiner_switch_at=0.5)
    assert len(pictures(events)) == 1
    assert 'of "large" gave NaN in float16; the batch is drawn again in float32 with weights' in told(events)[0]
    assert models.load("good").compute.words == "float16"


def test_a_vae_may_be_kept_from_float32(data):
    engine, _ = build(data)
    events = run(engine, "bright", {"auto_vae_precision": False})
    assert isinstance(events[-1], Failed)
    assert "Automatically revert VAE to 32-bit floats" in events[-1].message
    assert pictures(events) == []


def test_a_vae_goes_by_bfloat16_where_the_setting_says_so(data):
    engine, models = build(data, bfloat16=True)
    events = run(engine, "bright", {"auto_vae_precision_bfloat16": True})
    assert told(events)[0].endswith("computes in bfloat16 from now on.")
    found: Any = models.load("bright").autoencoder
    assert found.dtype is torch.bfloat16
    assert len(pictures(events)) == 1


def test_R7_a_vae_that_stays_nan_fails(data):
    engine, _ = build(data)
    events = run(engine, "dark")
    assert isinstance(events[-1], Failed)
    assert 'The VAE "that of dark" gave NaN in float32; no picture is saved.' in events[-1].message
    assert pictures(events) == []


@pytest.mark.parametrize(
    ("dtype", "brain", "full", "native", "expected"),
    [
        (torch.float16, False, True, True, torch.float32),
        (torch.float16, True, True, True, torch.bfloat16),
        (torch.float16, True, True, False, torch.float32),
        (torch.bfloat16, True, True, True, torch.float32),
        (torch.bfloat16, True, False, True, None),
        (torch.float32, True, True, True, None),
    ],
)
def test_types_of_vaes(dtype, brain, full, native, expected):
    options = {"auto_vae_precision_bfloat16": brain, "auto_vae_precision": full}
    assert next_vae_type(dtype, options, bfloat16=native) is expected
