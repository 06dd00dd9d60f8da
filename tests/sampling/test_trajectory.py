"""TCD beside diffusers' TCDScheduler, on a denoiser whose answers are known."""

import pytest
import torch
from diffusers.schedulers.scheduling_tcd import TCDScheduler

from modules.sampling.denoiser import NoiseLevels
from modules.sampling.flow import FlowLevels
from modules.sampling.registry import build_samplers

SCHEDULER = TCDScheduler()
LEVELS = NoiseLevels(SCHEDULER.alphas_cumprod)
SHAPE = (1, 4, 8, 8)


def denoised(x, sigma):
    """Of data from N(0, 0.7^2)."""
    return x * 0.49 / (0.49 + sigma.view(-1, 1, 1, 1) ** 2)


def theirs(times, gamma, noises):
    """Latents of the scheduler that walks these times, its noise drawn in that order."""
    scheduler = TCDScheduler()
    scheduler.set_timesteps(timesteps=times, original_inference_steps=1000)
    x = noises[0]
    for i, t in enumerate(scheduler.timesteps):
        a = scheduler.alphas_cumprod[t]
        scaled = x / a.sqrt()
        eps = (scaled - denoised(scaled, ((1 - a) / a).sqrt().view(1))) / ((1 - a) / a).sqrt()
        generator = torch.Generator().manual_seed(i)
        x = scheduler.step(eps, t, x, eta=gamma, generator=generator, return_dict=False)[0]
    return x


@pytest.mark.parametrize(
    ("times", "gamma", "close"),
    [
        ([999, 759, 519, 279], 1 / 3, 1e-4),  # (1 - gamma) t is whole: diffusers rounds it down
        ([999, 759, 519, 279], 1.0, 1e-4),
        ([999, 759, 519, 279], 0.0, 1e-4),
        ([999, 749, 499, 249], 0.3, 2e-3),
        ([999], 0.3, 1e-4),
    ],
)
def test_as_diffusers_has_it(times, gamma, close):
    noises = [torch.randn(SHAPE, generator=torch.Generator().manual_seed(100))]
    draws = iter(torch.randn(SHAPE, generator=torch.Generator().manual_seed(i)) for i in range(len(times)))
    sigmas = LEVELS.sigmas[torch.tensor([*times, 0])]
    sampler = build_samplers().get("TCD").on(LEVELS)
    start = noises[0] / SCHEDULER.alphas_cumprod[times[0]].sqrt()
    found = sampler.sample(denoised, start, sigmas, noise_sampler=lambda a, b: next(draws), eta=gamma)
    wanted = theirs(times, gamma, noises)
    scale = SCHEDULER.alphas_cumprod[0].sqrt()
    assert (found * scale - wanted).norm() / wanted.norm() < close


def test_noise_is_drawn_between_steps_alone():
    draws = []

    def noise(sigma, sigma_next):
        draws.append(sigma_next.item())
        return torch.zeros(SHAPE)

    sigmas = torch.tensor([10.0, 3.0, 1.0, 0.0])
    sampler = build_samplers().get("TCD").on(LEVELS)
    sampler.sample(denoised, torch.ones(SHAPE), sigmas, noise_sampler=noise, eta=0.3)
    assert draws == [3.0, 1.0]
    sampler.sample(denoised, torch.ones(SHAPE), sigmas, noise_sampler=noise, eta=0.0)
    assert draws == [3.0, 1.0]


def test_on_a_flow_its_times_are_the_flows():
    """Data at 0: z = sigma n, so that what is left after a step from sigma to (1 - gamma) sigma' is known."""
    sampler = build_samplers().get("TCD").on(FlowLevels())
    seen = []

    def nothing(z, sigma):
        seen.append(z.clone())
        return torch.zeros_like(z)

    sigmas, z = torch.tensor([0.8, 0.5, 0.0]), torch.full(SHAPE, 0.8)
    sampler.sample(nothing, z, sigmas, noise_sampler=lambda a, b: torch.zeros(SHAPE), eta=0.4)
    s = 0.6 * 0.5
    assert torch.allclose(
        seen[1], torch.full(SHAPE, s / (1 - s) * 0.5), atol=1e-6
    )  # at level 0.5 of z, as if drawn with zeros
