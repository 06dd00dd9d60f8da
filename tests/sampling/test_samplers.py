"""Samplers on a denoiser whose answers are known: data drawn from N(0, s^2), where D(x; sigma) = x s^2 / (s^2 + sigma^2)."""

import pytest
import torch

from modules.sampling.denoiser import NoiseLevels, scaled_linear_alphas_cumprod
from modules.sampling.guidance import Guided
from modules.sampling.noise import NoiseSource
from modules.sampling.registry import build_samplers
from modules.sampling.schedules import karras

S = 0.7
LEVELS = NoiseLevels(scaled_linear_alphas_cumprod())
SAMPLERS = build_samplers()
CPU = torch.device("cpu")


def gaussian(x, sigma):
    return x * S**2 / (S**2 + sigma.view(-1, 1, 1, 1) ** 2)


def run(name, x, sigmas, **extra):
    noise = NoiseSource(range(x.shape[0]), x.shape[1:], device=CPU)
    sampler = SAMPLERS.get(name)
    return sampler.sample(gaussian, x, sigmas, noise_sampler=noise.sampler, **extra)


@pytest.mark.parametrize("name", [name for name, s in SAMPLERS.items() if not s.ancestral])
def test_deterministic_samplers_follow_the_exact_solution(name):
    # dx/dsigma = (x - D)/sigma has the solution x(0) = x(sigma) s / sqrt(s^2 + sigma^2)
    sigmas = karras(200, LEVELS)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * sigmas[0]
    exact = x * S / (S**2 + sigmas[0] ** 2).sqrt()
    error = (run(name, x, sigmas) - exact).abs().max() / exact.abs().max()
    assert error < (0.03 if name == "Euler" else 0.005)


@pytest.mark.parametrize("name", [name for name, s in SAMPLERS.items() if s.ancestral])
def test_ancestral_samplers_give_the_distribution(name):
    sigmas = karras(400, LEVELS)
    x = torch.randn(8, 4, 32, 32, generator=torch.Generator().manual_seed(0)) * sigmas[0]
    assert run(name, x, sigmas).std().item() == pytest.approx(S, rel=0.03)


@pytest.mark.parametrize("name", [name for name, s in SAMPLERS.items() if s.ancestral])
def test_ancestral_samplers_without_noise_are_deterministic(name):
    sigmas = karras(200, LEVELS)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * sigmas[0]
    exact = x * S / (S**2 + sigmas[0] ** 2).sqrt()
    assert (run(name, x, sigmas, eta=0.0) - exact).abs().max() / exact.abs().max() < 0.03


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_one_report_a_step(name):
    steps = []
    SAMPLERS.get(name).sample(gaussian, torch.ones(1, 4, 8, 8), karras(7, LEVELS), callback=steps.append)
    assert [step["i"] for step in steps] == list(range(7))
    assert all(step["denoised"].shape == (1, 4, 8, 8) for step in steps)


def test_picture_does_not_depend_on_its_batch():
    sigmas = karras(5, LEVELS)

    def latents(seeds):
        noise = NoiseSource(seeds, (4, 8, 8), device=CPU)
        sample = SAMPLERS.get("Euler a").sample
        return sample(gaussian, noise.first() * sigmas[0], sigmas, noise_sampler=noise.sampler)

    assert torch.equal(latents([7, 8, 9])[1], latents([8])[0])


def test_seed_delta_changes_later_noise_only():
    plain = NoiseSource([3], (4, 8, 8), device=CPU)
    shifted = NoiseSource([3], (4, 8, 8), device=CPU, seed_delta=31337)
    assert torch.equal(plain.first(), shifted.first())
    assert not torch.equal(plain.next(), shifted.next())


def test_guidance():
    class Answers:
        """D = mean of the context, at any x."""

        def __call__(self, x, sigma, *, context):
            return torch.ones_like(x) * context.mean(dim=(1, 2)).view(-1, 1, 1, 1)

    x, sigma = torch.zeros(2, 4, 8, 8), torch.ones(2)
    cond, uncond = torch.full((2, 77, 3), 2.0), torch.full((2, 77, 3), 1.0)
    for negative in (uncond, torch.full((2, 154, 3), 1.0)):  # in one batch, and in two of unequal length
        assert Guided(Answers(), cond, negative, 3.0)(x, sigma).unique().tolist() == [4.0]
    assert Guided(Answers(), cond, uncond, 1.0)(x, sigma).unique().tolist() == [2.0]
