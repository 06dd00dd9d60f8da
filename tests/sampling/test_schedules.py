"""Noise schedules against what A1111 1.10.1 computed."""

import json
from pathlib import Path

import pytest
import torch

from modules.sampling.denoiser import NoiseLevels, scaled_linear_alphas_cumprod
from modules.sampling.registry import build_samplers
from modules.sampling.schedules import build_schedules

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "a1111_sigmas.json").read_text())
LEVELS = NoiseLevels(scaled_linear_alphas_cumprod())


@pytest.mark.parametrize("key", [key for key in RECORDED if not key.startswith("auto:")])
def test_schedule_equals_a1111(key):
    label, n = key.split("|")
    sigmas = build_schedules().get(label).sigmas(int(n), LEVELS)
    torch.testing.assert_close(sigmas, torch.tensor(RECORDED[key]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", list(build_samplers()))
def test_automatic_schedule_of_each_sampler_equals_a1111(name):
    key, n = next((key, key.split("|")[1]) for key in RECORDED if key.startswith(f"auto:{name}|"))
    sampler = build_samplers().get(name)
    sigmas = sampler.sigmas(int(n), build_schedules().get(sampler.entry.schedule), LEVELS)
    torch.testing.assert_close(sigmas, torch.tensor(RECORDED[key]), rtol=1e-6, atol=1e-6)


def test_time_and_level_are_inverse():
    t = torch.tensor([0.0, 0.3, 17.0, 500.5, 998.9, 999.0])
    torch.testing.assert_close(LEVELS.t(LEVELS.sigma(t)), t, rtol=1e-4, atol=2e-3)
