"""Tiers of memory: which one is chosen, the same picture under each, and a smaller one after the memory ran out."""

from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modules.core.paths import Paths
from modules.engine.build import build_engine
from modules.engine.room import modules_of
from modules.engine.tiers import (
    ONE,
    RESIDENT,
    ROLES,
    STREAMED,
    Needs,
    Tiers,
    explained,
    flagged_tier,
    tier_for,
    units_of,
)
from modules.requests.events import Failed, ImageReady, Warned
from modules.requests.txt2img import Txt2ImgRequest
from tests.engine.test_families import pictures, run
from tests.tiny import ldm_tensors, tiny_parts, write_tiny

GIB = 2**30
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SD1 = Needs(whole=int(1.99 * GIB), largest=int(1.6 * GIB))  # in half precision
SDXL = Needs(whole=int(6.46 * GIB), largest=int(4.78 * GIB))
SMALL, LARGE = 512 * 512, 1024 * 1024
CHECKPOINT = "one.safetensors"


@pytest.fixture
def engine(tmp_path):
    write_tiny(tmp_path / "models" / "Stable-diffusion" / CHECKPOINT)
    return build_engine(paths=Paths(data=tmp_path), use_cpu=True)


@pytest.mark.parametrize(
    ("needs", "pixels", "free", "tier"),
    [
        (SD1, SMALL, 24, RESIDENT),
        (SD1, SMALL, 4, RESIDENT),
        (SD1, SMALL, 3.4, ONE),
        (SD1, SMALL, 2, STREAMED),
        (SDXL, LARGE, 12.5, RESIDENT),
        (SDXL, LARGE, 10.2, ONE),
        (SDXL, LARGE, 4, STREAMED),
    ],
)
def test_the_quickest_tier_that_fits(needs, pixels, free, tier):
    assert tier_for(needs, pixels=pixels, free=int(free * GIB)) == tier
    said = explained(tier, needs, pixels=pixels, free=int(free * GIB), name="x")
    assert f"{free:.1f} GB are free" in said


@pytest.mark.parametrize(
    ("flags", "family", "tier"),
    [
        ((), "Stable Diffusion XL", None),
        (("lowvram", "medvram"), "Stable Diffusion 1.x", STREAMED),
        (("medvram",), "Stable Diffusion 1.x", ONE),
        (("medvram_sdxl",), "Stable Diffusion XL", ONE),
        (("medvram_sdxl",), "Stable Diffusion 1.x", None),
    ],
)
def test_flags_choose(flags, family, tier):
    assert flagged_tier(flags, family) == tier


def test_what_was_too_large_is_not_tried_again():
    tiers, ask = Tiers(CUDA), {"pixels": SMALL, "free": 24 * GIB}
    assert tiers.choose("x", ("x",), "SD", SD1, **ask) == RESIDENT
    assert tiers.lower(("x",), RESIDENT)
    assert tiers.choose("x", ("x",), "SD", SD1, **ask) == ONE
    assert tiers.choose("y", ("y",), "SD", SD1, **ask) == RESIDENT
    assert tiers.lower(("x",), ONE)
    assert not tiers.lower(("x",), STREAMED)


def test_a_cpu_has_one_tier():
    tiers = Tiers(CPU, ("lowvram",))
    assert tiers.choose("x", ("x",), "SD", SD1, pixels=SMALL, free=GIB) == RESIDENT
    assert not tiers.lower(("x",), RESIDENT)


@pytest.mark.parametrize("tier", [ONE, STREAMED])
def test_the_same_picture_under_every_tier(engine, tier):
    values: Any = {"batch_size": 2, "sampler_name": "DPM++ 2M"}
    wanted = pictures(run(engine, CHECKPOINT, **values))
    model = engine._tools.models.load(CHECKPOINT)
    tiers = Tiers(CPU)
    policy = tiers.policy_for(model, tier)
    assert policy
    assert np.array_equal(pictures(run(engine, CHECKPOINT, prompt="a blue moon", **values)).shape, wanted.shape)
    assert np.array_equal(pictures(run(engine, CHECKPOINT, **values)), wanted)
    whole = sum(p.nbytes for module in modules_of(model) for p in module.parameters())
    assert 0 < tiers.meter.peak < whole
    policy.leave()


@pytest.mark.parametrize("tier", [RESIDENT, ONE, STREAMED])
@pytest.mark.parametrize("on_cpu", [("te",), ("unet",), ("vae", "clip"), ("unet", "vae", "te")])
def test_the_same_picture_with_parts_on_the_cpu(engine, tier, on_cpu):
    wanted = pictures(run(engine, CHECKPOINT, prompt="one"))
    model = engine._tools.models.load(CHECKPOINT)
    tiers = Tiers(CPU, on_cpu=on_cpu)
    policy = tiers.policy_for(model, tier)
    assert policy
    engine._tools.conditions._kept.clear()  # they shall be encoded here
    assert np.array_equal(pictures(run(engine, CHECKPOINT, prompt="one")), wanted)
    roles = {ROLES[name] for name in on_cpu}
    here = [m for role, units in units_of(model).items() if role not in roles for unit in units for m in unit]
    assert tiers.meter.peak <= sum(p.nbytes for module in here for p in module.parameters()) * 1.01
    assert bool(tiers.meter.peak) == bool(here)
    policy.leave()


def test_what_is_placed_on_the_cpu_takes_nothing_of_the_gpu():
    parts = {"vae_kl4": "first_stage_model.", "clip_l": "cond_stage_model.transformer.text_model."}
    assert Tiers(CUDA).elsewhere(parts) == ()
    assert Tiers(CUDA, on_cpu=["te", "vae"]).elsewhere(parts) == tuple(parts.values())
    assert Tiers(CUDA, on_cpu=["unet"]).elsewhere(parts) == ("model.diffusion_model.",)


def test_another_vae_stays_in_the_policys_charge(tmp_path):
    """As on a GPU: weights at home on the CPU."""
    write_tiny(tmp_path / "models" / "Stable-diffusion" / CHECKPOINT)
    vae = {k.removeprefix("first_stage_model."): t for k, t in ldm_tensors(tiny_parts(1)).items() if "first_stage" in k}
    (tmp_path / "models" / "VAE").mkdir()
    save_file(vae, tmp_path / "models" / "VAE" / "other.safetensors")
    engine = build_engine(paths=Paths(data=tmp_path), use_cpu=True)
    models = engine._tools.models
    models._tiers = tiers = Tiers(CPU, on_cpu=["te"])
    models.load(CHECKPOINT)
    before = models._kept.last.policy
    model = models.load(CHECKPOINT, vae="other.safetensors")
    assert model.vae_file
    assert before is models._kept.last.policy is not None
    tiers.meter.peak = 0
    model.decode(torch.zeros(1, 4, 8, 8))
    assert 0 < tiers.meter.peak < sum(p.nbytes for m in modules_of(model) for p in m.parameters())


def test_parts_that_are_not_here_yet_are_said_to_have_no_effect(tmp_path, caplog):
    build_engine(paths=Paths(data=tmp_path), use_cpu=True, on_cpu=("unet", "esrgan"))
    assert [r.message for r in caplog.records if "--use-cpu" in r.message] == [
        "--use-cpu esrgan has no effect: this version has no such part yet."
    ]


def test_R2_memory_that_runs_out_leads_to_a_smaller_tier_and_no_picture_is_lost(engine, monkeypatch):
    recipe, calls = engine._recipes[Txt2ImgRequest], []

    def short(order, tools, context):
        calls.append(order.done)
        if len(calls) > 1:
            return recipe(order, tools, context)

        def emit(event):
            context.emit(event)
            if isinstance(event, ImageReady):
                raise torch.OutOfMemoryError("CUDA out of memory")

        return recipe(order, tools, type(context)(emit=emit, cancel=context.cancel))

    monkeypatch.setitem(engine._recipes, Txt2ImgRequest, short)
    monkeypatch.setattr(engine._tools.models, "lower", lambda: True)
    events = run(engine, CHECKPOINT, n_iter=2)
    assert [sorted(done) for done in calls] == [[], [0]]
    assert sorted(event.index for event in events if isinstance(event, ImageReady)) == [0, 1]
    assert len([event for event in events if isinstance(event, Warned)]) == 1
    assert len(pictures(events)) == 2


def test_without_a_smaller_tier_the_job_fails_with_a_sentence(engine, monkeypatch):
    def short(order, tools, context):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(engine._recipes, Txt2ImgRequest, short)
    failed = run(engine, CHECKPOINT)[-1]
    assert isinstance(failed, Failed)
    assert failed.kind == "OutOfMemory"
