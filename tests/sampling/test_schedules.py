"""Noise schedules against what A1111 1.10.1 computed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from modules.sampling.denoiser import ConsistencyLevels, NoiseLevels, scaled_linear_alphas_cumprod
from modules.sampling.registry import build_samplers
from modules.sampling.sampler import schedule_options
from modules.sampling.schedules import DEFAULT, ScheduleOptions, build_schedules
from modules.sampling.times import unipc_levels

DATA = Path(__file__).parents[1] / "parity" / "data"
RECORDED = np.load(DATA / "sigmas.npz")
TABLES = json.loads((DATA / "tables.json").read_text())
LEVELS = NoiseLevels(scaled_linear_alphas_cumprod())
SCHEDULES = build_schedules()
SAMPLERS = build_samplers()
PLAIN = {
    "use_old_karras_scheduler_sigmas": False,
    "sigma_min": 0.0,
    "sigma_max": 0.0,
    "rho": 0.0,
    "beta_dist_alpha": 0.6,
    "beta_dist_beta": 0.6,
}
CHANGED = {
    "min0.1_max10": {"sigma_min": 0.1, "sigma_max": 10.0},
    "rho5": {"rho": 5.0},
    "rho2": {"rho": 2.0},
    "beta_a1_b1": {"beta_dist_alpha": 1.0, "beta_dist_beta": 1.0},
    "old_karras": {"use_old_karras_scheduler_sigmas": True},
}


def close(found, key):
    record = torch.from_numpy(RECORDED[key])
    torch.testing.assert_close(found, record, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("key", [key for key in RECORDED.files if key.split("|")[0] in SCHEDULES])
def test_schedule_equals_a1111(key):
    label, n = key.split("|")
    close(SCHEDULES.get(label).sigmas(int(n), LEVELS), key)


@pytest.mark.parametrize("key", [key for key in RECORDED.files if key.startswith("auto:")])
def test_automatic_schedule_of_each_sampler_equals_a1111(key):
    name, n = key.removeprefix("auto:").split("|")
    sampler = SAMPLERS.get(name)
    close(sampler.sigmas(int(n), SCHEDULES.get(sampler.entry.schedule), LEVELS), key)


@pytest.mark.parametrize("key", [key for key in RECORDED.files if key.startswith("discard_next_to_last:")])
def test_discarded_level_equals_a1111(key):
    label, n = key.removeprefix("discard_next_to_last:").split("|")
    close(SAMPLERS.get("Euler").sigmas(int(n), SCHEDULES.get(label), LEVELS, discard=True), key)


@pytest.mark.parametrize("key", [key for key in RECORDED.files if key.split(":")[0] in CHANGED])
def test_changed_settings_equal_a1111(key):
    change, rest = key.split(":")
    label, n = rest.split("|")
    options = schedule_options({**PLAIN, **CHANGED[change]}, "sd1")
    close(SCHEDULES.get(label).sigmas(int(n), LEVELS, options), key)


@pytest.mark.parametrize("key", [key for key in RECORDED.files if key.startswith("ddim_timesteps")])
def test_ddim_times_equal_a1111(key):
    times = torch.from_numpy(RECORDED[key]).long()
    found = SAMPLERS.get("DDIM").sigmas(int(key.split("|")[1]), SCHEDULES.get("Karras"), LEVELS)
    assert torch.equal(found, LEVELS.sigmas[times].flip(0))


def test_tables_equal_a1111():
    names = [entry["name"] for entry in TABLES["samplers"]]
    assert list(SAMPLERS)[: len(names)] == names
    for record in TABLES["samplers"]:
        entry = SAMPLERS.get(record["name"]).entry
        assert list(entry.aliases) == record["aliases"]
        flags = {name: "True" if value is True else value for name, value in record["options"].items()}
        assert entry.options == flags, record["name"]
    for record in TABLES["schedulers"]:
        entry = SCHEDULES.get(record["name"]).entry
        assert entry.label == record["label"]
        assert entry.default_rho == record["default_rho"]
        assert entry.need_inner_model == record["need_inner_model"]
        assert list(entry.aliases)[:1] == (record["aliases"] or list(entry.aliases)[:1])


@pytest.mark.parametrize("label", list(SCHEDULES))
@pytest.mark.parametrize("n", [1, 2, 3, 7, 20, 150])
def test_levels_fall_to_the_end(label, n):
    for options in (DEFAULT, ScheduleOptions(table="sdxl")):
        sigmas = SCHEDULES.get(label).sigmas(n, LEVELS, options)
        assert sigmas.dtype == torch.float32
        assert (sigmas.diff() < 0).all()
        assert sigmas[-1] == 0 or label == "KL Optimal"
        assert len(sigmas) == n + 1 or (label == "DDIM" and len(sigmas) > n)


def test_tables_are_met_at_their_own_steps():
    assert SCHEDULES.get("Align Your Steps").sigmas(11, LEVELS)[3].item() == pytest.approx(2.697)
    assert SCHEDULES.get("align_your_steps_GITS").sigmas(11, LEVELS)[1].item() == pytest.approx(4.617)
    sdxl = ScheduleOptions(table="sdxl")
    assert SCHEDULES.get("align_your_steps_32").sigmas(32, LEVELS, sdxl)[2].item() == pytest.approx(8.50522127)


def test_linear_quadratic_is_linear_then_smooth():
    sigmas = SCHEDULES.get("linear_quadratic").sigmas(20, LEVELS) / LEVELS.sigma_max
    first = sigmas[:11].diff()
    torch.testing.assert_close(first, torch.full((10,), -0.0025), rtol=1e-3, atol=1e-6)
    bends = sigmas[10:].diff().diff()
    torch.testing.assert_close(bends, bends[0].expand(9), rtol=1e-3, atol=1e-6)


def test_time_and_level_are_inverse():
    t = torch.tensor([0.0, 0.3, 17.0, 500.5, 998.9, 999.0])
    torch.testing.assert_close(LEVELS.t(LEVELS.sigma(t)), t, rtol=1e-4, atol=2e-3)


def test_quantized_levels_round_to_trained_times():
    t = torch.tensor([0.2, 0.8, 500.4, 998.9])
    assert LEVELS.quantized().t(LEVELS.sigma(t)).tolist() == [0, 1, 500, 999]


def test_consistency_levels_are_every_twentieth():
    levels = ConsistencyLevels(LEVELS)
    assert len(levels.sigmas) == 50
    assert levels.t(LEVELS.sigmas[[19, 510, 999]]).tolist() == [19, 519, 999]
    torch.testing.assert_close(levels.sigma(torch.tensor([19.0, 39.0, 999.0])), LEVELS.sigmas[[19, 39, 999]])
    uniform = SCHEDULES.get("Uniform").sigmas(4, levels)
    torch.testing.assert_close(uniform[[0, 3]], LEVELS.sigmas[[999, 19]])


@pytest.mark.parametrize("skip_type", ["time_uniform", "time_quadratic", "logSNR"])
def test_unipc_times_span_the_model(skip_type):
    sigmas = unipc_levels(12, LEVELS, skip_type)
    assert len(sigmas) == 14  # as many steps as DDIM has levels
    torch.testing.assert_close(sigmas[[0, -1]], LEVELS.sigmas[[-1, 0]], rtol=1e-4, atol=1e-6)
    assert (sigmas.diff() < 0).all()


def test_zero_terminal_levels_keep_the_first_and_reach_nearly_no_signal():
    levels = LEVELS.zero_terminal()
    assert levels.sigma_min == pytest.approx(LEVELS.sigma_min, rel=1e-3)
    assert levels.sigma_max == pytest.approx(4518.76, rel=1e-4)
    assert (levels.sigmas.diff() > 0).all()
