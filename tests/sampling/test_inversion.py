"""Noise found by walking backwards, on a denoiser whose way is known."""

import pytest
import torch

from modules.sampling.denoiser import NoiseLevels, scaled_linear_alphas_cumprod
from modules.sampling.inversion import Retouched, inverted, mixed

X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.5


def gaussian(x, sigma, **_):
    """D of data of deviation 1/2: x s^2 / (s^2 + sigma^2), whose way keeps x / sqrt(s^2 + sigma^2)."""
    s2 = 0.25
    return x * s2 / (s2 + sigma.view(-1, 1, 1, 1) ** 2)


@pytest.mark.parametrize("at_lower", [True, False])
def test_the_way_back_is_the_way(at_lower):
    sigmas = torch.cat([torch.zeros(1), torch.linspace(-4, 2.5, 4000).exp()])
    seen = []
    found = inverted(gaussian, X, sigmas, at_lower=at_lower, tell=seen.append)
    wanted = X * ((0.25 + sigmas[-1] ** 2) / 0.25).sqrt()
    assert torch.allclose(found, wanted, rtol=2e-2)
    assert seen == list(range(1, 4001))


def test_the_lower_level_leaves_the_first_step_out():
    sigmas = torch.tensor([0.0, 0.5])
    assert torch.equal(inverted(gaussian, X, sigmas, at_lower=True), X)
    upper = inverted(gaussian, X, sigmas, at_lower=False)
    assert torch.allclose(upper, X + (X - X / 2) / 0.5 * 0.5)


def test_mixtures_are_unit_noise():
    one, two = torch.randn(2, 4000, generator=torch.Generator().manual_seed(1))
    for share in (0.0, 0.3, 1.0):
        assert mixed(one, two, share).std().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(mixed(one, two, 0), one)


def test_retouching_asks_at_earlier_times():
    levels = NoiseLevels(scaled_linear_alphas_cumprod())
    sigma = torch.tensor([1.0, 5.0])
    assert torch.allclose(Retouched(levels, 2).t(sigma), levels.t(sigma) / 2)
