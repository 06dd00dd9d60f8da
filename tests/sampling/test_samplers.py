"""Samplers on a denoiser whose answers are known: data drawn from N(0, s^2), where D(x; sigma) = x s^2 / (s^2 + sigma^2)."""

import math

import pytest
import torch

from modules.sampling.denoiser import NoiseLevels, scaled_linear_alphas_cumprod
from modules.sampling.euler import restart_intervals
from modules.sampling.noise import NoiseSource
from modules.sampling.registry import build_samplers
from modules.sampling.schedules import build_schedules, karras

S = 0.7
LEVELS = NoiseLevels(scaled_linear_alphas_cumprod())
SAMPLERS = build_samplers()
CPU = torch.device("cpu")
PRESERVING = ("DDIM", "DDIM CFG++", "PLMS", "UniPC", "UniPC bh1", "UniPC bh2")

# Orders of convergence with no noise. Multistep methods begin with lower orders, and DPM fast ends with them, which shows.
ORDERS = {
    **dict.fromkeys(("Euler", "Euler a", "DDIM", "DDIM CFG++", "Euler CFG++", "Euler a CFG++", "HeunPP2", "TCD"), 1),
    **dict.fromkeys(("Gradient estimation", "Gradient estimation CFG++"), 1),
    **dict.fromkeys(("Heun", "DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ SDE", "DPM++ 2S a CFG++", "SEEDS 2", "PLMS"), 2),
    **dict.fromkeys(
        ("DPM++ 2M", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE", "DPM++ 3M SDE plain", "DPM++ 2M CFG++"), 2
    ),
    **dict.fromkeys(("RES multistep", "RES multistep a", "RES multistep CFG++", "IPNDM"), 2),
    **dict.fromkeys(("UniPC", "UniPC bh1", "UniPC bh2", "DPM fast"), 2),
    **dict.fromkeys(("LMS", "IPNDM_V", "DEIS", "SEEDS 3"), 3),
    **dict.fromkeys(("SA-Solver", "SA-Solver PECE"), 4),
}
NO_ORDER = {
    "DPM adaptive": "chooses its steps itself; see test_adaptive_steps_hold_their_tolerance",
    "Restart": "is Heun below 20 steps and adds noise from there; see the tests of it",
    "LCM": "denoises whole in every step; see test_noisy_samplers_give_the_distribution",
    "LCM plain": "denoises whole in every step; see test_noisy_samplers_give_the_distribution",
    "DDPM": "always adds noise; see test_noisy_samplers_give_the_distribution",
    "ER SDE": "always adds noise; see test_noisy_samplers_give_the_distribution",
}


class Gaussian:
    """The exact denoiser."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x, sigma):
        self.calls += 1
        return x * S**2 / (S**2 + sigma.to(x).view(-1, 1, 1, 1) ** 2)

    def both(self, x, sigma):
        denoised = self(x, sigma)
        return denoised, denoised


def consistency(x, sigma):
    """Where the exact path from (x, sigma) ends."""
    return x * S / (S**2 + sigma.view(-1, 1, 1, 1) ** 2).sqrt()


def error(name, sigmas, **options):
    """(relative error at the last level, model calls), without noise."""
    sampler = SAMPLERS.get(name)
    model = Gaussian()
    x = torch.randn(1, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * sigmas[0]
    eta = {"eta": 0.0} if sampler.entry.eta else {}
    found = sampler.sample(model, x, sigmas, **eta, **sampler.fixed, **options)
    # dx/dsigma = (x - D)/sigma has the solution x(sigma) = c sqrt(s^2 + sigma^2)
    exact = x * ((S**2 + sigmas[-1] ** 2) / (S**2 + sigmas[0] ** 2)).sqrt()
    if name in PRESERVING:
        exact = exact / (1 + sigmas[-1] ** 2).sqrt()
    return ((found - exact).norm() / exact.norm()).item(), model.calls


def log_levels(n):
    return torch.linspace(math.log(10), math.log(0.1), n + 1, dtype=torch.float64).exp()


def test_every_sampler_has_an_order_or_a_reason():
    assert set(ORDERS) | set(NO_ORDER) == set(SAMPLERS)
    assert not set(ORDERS) & set(NO_ORDER)


@pytest.mark.parametrize("name", ORDERS)
def test_order_of_convergence(name):
    counts = (30, 60, 120)
    errors = [error(name, log_levels(n))[0] for n in counts]
    orders = [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]
    print(f"\n{name:28} errors {errors[0]:.1e} {errors[1]:.1e} {errors[2]:.1e}  order {orders[0]:.2f} {orders[1]:.2f}")
    assert orders[-1] > ORDERS[name] - 0.35
    assert errors[-1] < 0.02


@pytest.mark.parametrize("name", ORDERS)
def test_way_to_zero(name):
    sigmas = karras(100, LEVELS).double()
    assert error(name, sigmas)[0] < 0.05


def test_restart_is_heun_below_twenty_steps():
    errors = [error("Restart", log_levels(n))[0] for n in (9, 18)]
    assert errors == [error("Heun", log_levels(n))[0] for n in (9, 18)]


@pytest.mark.parametrize(("n", "times", "steps"), [(19, 0, 19), (20, 1, 20), (35, 1, 35), (36, 2, 36), (50, 2, 50)])
def test_restart_spends_the_steps_asked_for(n, times, steps):
    intervals = restart_intervals(karras(n, LEVELS))
    jumps = [(a[1], b[0]) for a, b in zip(intervals, intervals[1:], strict=False) if a[1] != b[0]]
    assert len(intervals) == steps
    assert len(jumps) == times
    assert all(
        low.item() == pytest.approx(0.1, rel=0.5) and high.item() == pytest.approx(2, rel=0.5) for low, high in jumps
    )


def test_adaptive_steps_hold_their_tolerance():
    rough, calls = error("DPM adaptive", log_levels(1))
    fine, more = error("DPM adaptive", log_levels(1), rtol=0.001, atol=0.0001)
    print(f"\nDPM adaptive: {rough:.1e} in {calls} calls, {fine:.1e} in {more}")
    assert fine < 0.002 < rough < 0.06
    assert calls < 30 < more


NOISY = [name for name, s in SAMPLERS.items() if s.entry.draws_noise or s.entry.brownian_noise]


@pytest.mark.parametrize("name", [*NOISY, "Restart", "LCM", "LCM plain"])
def test_noisy_samplers_give_the_distribution(name):
    sampler = SAMPLERS.get(name)
    sigmas = karras(80, LEVELS)
    noise = NoiseSource(range(4), (4, 32, 32), device=CPU)
    x = noise.first() * sigmas[0]
    model = consistency if name.startswith(("LCM", "TCD")) else Gaussian()
    noise_sampler = sampler.noise_sampler(noise, sigmas)
    options = {"eta": 1.0} if sampler.entry.eta else {}
    found = sampler.sample(model, x, sigmas, noise_sampler=noise_sampler, **options, **sampler.fixed)
    assert found.std().item() == pytest.approx(S, rel=0.05)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_any_number_of_steps_and_one_report_a_step(name):
    sampler = SAMPLERS.get(name)
    for n in (1, 2, 3, 7):
        schedule = build_schedules().get(sampler.entry.schedule)
        sigmas = sampler.sigmas(n, schedule, LEVELS)
        noise = NoiseSource([1, 2], (4, 8, 8), device=CPU)
        steps = []
        found = sampler.sample(
            Gaussian(),
            sampler.start(noise.first(), sigmas),
            sampler.path(n, sigmas, LEVELS),
            callback=steps.append,
            noise_sampler=sampler.noise_sampler(noise, sigmas),
            **sampler.fixed,
        )
        assert found.isfinite().all()
        assert [step["i"] for step in steps] == list(range(len(steps)))
        assert len(steps) >= 1
        assert all(step["denoised"].shape == (2, 4, 8, 8) for step in steps)


@pytest.mark.parametrize("name", [name for name, s in SAMPLERS.items() if s.entry.churn])
def test_churn_adds_noise_only_between_its_bounds(name):
    sigmas = karras(12, LEVELS)
    x = torch.ones(1, 4, 8, 8) * sigmas[0]

    def run(**options):
        draws = []

        def noise_sampler(sigma, sigma_next):
            draws.append(sigma)
            return torch.ones(1, 4, 8, 8)

        return SAMPLERS.get(name).sample(Gaussian(), x, sigmas, noise_sampler=noise_sampler, **options), len(draws)

    plain, none = run()
    outside, drawn = run(s_churn=5.0, s_tmin=100.0)
    inside, _ = run(s_churn=5.0, s_tmin=1.0, s_tmax=10.0)
    assert none == 0
    assert drawn == 12  # as k-diffusion draws, so that the noise inside the bounds does not depend on them
    assert torch.equal(plain, outside)
    assert not torch.allclose(plain, inside)


def test_a_picture_does_not_depend_on_its_batch():
    sigmas = karras(5, LEVELS)

    def latents(name, seeds):
        sampler = SAMPLERS.get(name)
        noise = NoiseSource(seeds, (4, 8, 8), device=CPU)
        x = noise.first() * sigmas[0]
        return sampler.sample(
            Gaussian(), x, sigmas, noise_sampler=sampler.noise_sampler(noise, sigmas), **sampler.fixed
        )

    for name in (*NOISY, "LCM", "LCM plain"):
        if name == "DPM adaptive":
            continue  # its steps follow from the error of the whole batch, as in A1111
        assert torch.allclose(latents(name, [7, 8, 9])[1], latents(name, [8])[0], atol=1e-6), name
