"""Techniques of guidance against their formulas, on denoisers whose answers are known."""

import math
from contextlib import contextmanager

import pytest
import torch

from modules.sampling.attention_guidance import PerturbedAttention, SelfAttention, blurred
from modules.sampling.conditioning import Composed, Scheduled
from modules.sampling.guidance import Extras, Guided, Skips
from modules.sampling.tempering import Rescale, Threshold

X = torch.randn(2, 4, 10, 12, generator=torch.Generator().manual_seed(3))
SIGMA = torch.tensor([2.0, 2.0])
COND, UNCOND = torch.full((2, 77, 3), 2.0), torch.full((2, 77, 3), 1.0)


PERTURBED = []  # not empty while it is


def answer(x, sigma, *, context):
    """Some function of everything it is given, each picture by itself."""
    if PERTURBED:
        return x * 0.5
    c = context.mean(dim=(1, 2)).view(-1, 1, 1, 1)
    return torch.sin(x * c) + c * x.roll(1, dims=3) / (1 + sigma.view(-1, 1, 1, 1))


@contextmanager
def perturbed():
    PERTURBED.append(True)
    yield
    PERTURBED.pop()


def look():
    """Attention of four rows, the middle of each being looked at."""
    found = torch.zeros(4, 5, 6)
    found[:, 2, 3] = 3.0
    return found


SAG = SelfAttention(attention=look, scale=0.5, blur=2.0, threshold=1.0)
PAG = PerturbedAttention(perturbed=perturbed, scale=3.0)
FIX = Threshold(mimic=0.3, percentile=0.9)
RESCALE = Rescale(phi=0.7)


def term(correction, context, d):
    return correction(X, SIGMA, d, lambda x: answer(x, SIGMA, context=context))


def test_rescale_is_the_papers_formula_on_v():
    """At noise level sigma: x0 = D, eps = (x - D) / sigma, v = (eps - sigma x0) / sqrt(1 + sigma^2)."""
    d, d_c, s = torch.randn_like(X), torch.randn_like(X) * 0.4, 2.0

    def v_of(d):
        return ((X - d) / s - s * d) / math.sqrt(1 + s**2)

    found = v_of(RESCALE(d, d_c, X, SIGMA))
    for i in range(2):
        v, v_c = v_of(d)[i], v_of(d_c)[i]
        assert torch.allclose(found[i], v * (0.7 * v_c.std() / v.std() + 0.3), atol=1e-5)
        assert not torch.allclose(found[i], v, atol=1e-2)
    assert torch.allclose(Rescale(phi=0.0)(d, d_c, X, SIGMA), d, atol=1e-5)
    assert torch.allclose(v_of(Rescale(phi=1.0)(d, d_c, X, SIGMA)).std(dim=(1, 2, 3)), v_of(d_c).std(dim=(1, 2, 3)))


@pytest.mark.parametrize("percentile", [0.8, 1.0])
def test_threshold_channel_by_channel(percentile):
    d_u, d = torch.randn_like(X), torch.randn_like(X) * 5 + 1
    found = Threshold(mimic=0.25, percentile=percentile, phi=0.6)(d, d_u)
    for i in range(2):
        for c in range(4):
            weaker = d_u[i, c] + (d[i, c] - d_u[i, c]) * 0.25
            bound = (weaker - weaker.mean()).abs().max()
            centred = d[i, c] - d[i, c].mean()
            s = max(float(torch.quantile(centred.abs(), percentile)), float(bound))
            inside = centred.clamp(-s, s) * bound / s + d[i, c].mean()
            assert torch.allclose(found[i, c], 0.6 * inside + 0.4 * d[i, c], atol=1e-5)


def test_threshold_of_all_channels_around_zero():
    d_u, d = torch.randn_like(X), torch.randn_like(X) * 5 + 1
    found = Threshold(mimic=0.25, per_channel=False, centred=False)(d, d_u)
    bound = (d_u + (d - d_u) * 0.25).abs().amax(dim=(1, 2, 3))
    assert torch.allclose(found.abs().amax(dim=(1, 2, 3)), bound)
    assert torch.allclose(found / d, (found / d)[:, :1, :1, :1].expand_as(d), atol=1e-5)


def test_guidance_no_stronger_than_the_mimicked_one_is_left():
    d_u, d = torch.randn_like(X), torch.randn_like(X)
    assert torch.allclose(Threshold(mimic=1.0)(d, d_u), d, atol=1e-5)


def test_blur_is_gaussian_and_keeps_the_mean_of_a_flat_picture():
    dot = torch.zeros(1, 2, 21, 21)
    dot[:, :, 10, 10] = 1
    found = blurred(dot, 1.5)
    weights = [math.exp(-0.5 * (i / 1.5) ** 2) for i in range(-4, 5)]
    for y in range(21):
        for x in range(21):
            near = abs(y - 10) <= 4 and abs(x - 10) <= 4
            expected = weights[y - 6] * weights[x - 6] / sum(weights) ** 2 if near else 0.0
            assert abs(found[0, 1, y, x].item() - expected) < 1e-6
    assert torch.allclose(blurred(torch.ones(1, 1, 8, 8), 2.0), torch.ones(1, 1, 8, 8))
    assert torch.equal(blurred(X, 0.0), X)


def test_self_attention_is_the_papers_formula_on_noise():
    """eps + s (eps(x) - eps(x')) where x' is noised again by the same eps from the blurred prediction."""
    d = answer(X, SIGMA, context=UNCOND)
    s = SIGMA.view(-1, 1, 1, 1)
    eps = (X - d) / s
    mask = torch.zeros(2, 1, 10, 12)
    mask[:, :, 4:6, 6:8] = 1  # the place looked at, at the latents' size
    degraded = d * (1 - mask) + blurred(d, 2.0) * mask
    again = degraded + s * eps
    eps_again = (again - answer(again, SIGMA, context=UNCOND)) / s
    expected = -s * 0.5 * (eps - eps_again)
    assert torch.allclose(term(SAG, UNCOND, d), expected, atol=1e-5)
    assert expected.abs().max() > 0.01
    nowhere = SelfAttention(attention=look, scale=0.5, blur=2.0, threshold=4.0)
    assert term(nowhere, UNCOND, d).abs().max() < 1e-5


def test_flows_have_a_v_and_a_mixture_of_their_own():
    """x = (1 - sigma) x0 + sigma eps and v = (x - x0) / sigma."""
    sigma = torch.full((2,), 0.6)
    d, d_c = torch.randn_like(X), torch.randn_like(X) * 0.4
    v, v_c, found = ((X - one) / 0.6 for one in (d, d_c, Rescale(phi=0.7, flow=True)(d, d_c, X, sigma)))
    for i in range(2):
        assert torch.allclose(found[i], v[i] * (0.7 * v_c[i].std() / v[i].std() + 0.3), atol=1e-5)

    d = answer(X, sigma, context=COND)
    everywhere = SelfAttention(attention=look, scale=0.5, blur=2.0, threshold=-1.0, flow=True)
    eps = (X - 0.4 * d) / 0.6
    again = 0.4 * blurred(d, 2.0) + 0.6 * eps
    v, v_again = (X - d) / 0.6, (again - answer(again, sigma, context=COND)) / 0.6
    found = everywhere(X, sigma, d, lambda x: answer(x, sigma, context=COND))
    assert torch.allclose(found, -0.6 * 0.5 * (v - v_again), atol=1e-5)


def test_perturbed_attention():
    d = answer(X, SIGMA, context=COND)
    assert torch.allclose(term(PAG, COND, d), 3 * (d - X * 0.5))


@pytest.mark.parametrize("together", [True, False])
def test_guided_applies_all_of_them_in_order(together):
    extras = Extras(threshold=FIX, rescale=RESCALE, self_attention=SAG, perturbed=PAG)
    guided = Guided(answer, COND, UNCOND, 6.0, together=together, extras=extras)
    d_c, d_u = (answer(X, SIGMA, context=c) for c in (COND, UNCOND))
    expected = RESCALE(FIX(d_u + 6 * (d_c - d_u), d_u), d_c, X, SIGMA)
    expected = expected + term(SAG, UNCOND, d_u) + term(PAG, COND, d_c)
    found, unguided = guided.both(X, SIGMA)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(unguided, d_u, atol=1e-6)
    assert torch.allclose(guided(X, SIGMA), expected, atol=1e-5)


@pytest.mark.parametrize(("scale", "skips"), [(1.0, None), (6.0, Skips(until=100.0))])
def test_without_the_negative_prompt_the_prompt_is_looked_at(scale, skips):
    guided = Guided(
        answer,
        COND,
        UNCOND,
        scale,
        skips,
        extras=Extras(threshold=FIX, rescale=RESCALE, self_attention=SAG, perturbed=PAG),
    )
    d_c = answer(X, SIGMA, context=COND)
    expected = d_c + term(SAG, COND, d_c) + term(PAG, COND, d_c)
    assert torch.allclose(guided(X, SIGMA), expected, atol=1e-5)


@pytest.mark.parametrize("skips", [None, Skips(until=100.0)])
def test_composed_prompts_count_by_their_weights(skips):
    def part(value):
        return Scheduled.constant(torch.full((77, 3), value))

    cond = [Composed(((part(2.0), 1.0), (part(0.5), 3.0)))] * 2
    guided = Guided(answer, cond, UNCOND, 6.0, skips, extras=Extras(perturbed=PAG))
    plain = Guided(answer, cond, UNCOND, 6.0, skips)
    terms = [term(PAG, c, answer(X, SIGMA, context=c)) for c in (COND, torch.full((2, 77, 3), 0.5))]
    assert torch.allclose(guided(X, SIGMA) - plain(X, SIGMA), (terms[0] + 3 * terms[1]) / 4, atol=1e-5)


def test_each_picture_by_itself():
    extras = Extras(threshold=FIX, rescale=RESCALE, self_attention=SAG, perturbed=PAG)
    together = Guided(answer, COND, UNCOND, 6.0, extras=extras)(X, SIGMA)
    for i in (slice(0, 1), slice(1, 2)):
        alone = Guided(answer, COND[i], UNCOND[i], 6.0, extras=extras)(X[i], SIGMA[i])
        assert torch.allclose(alone, together[i], atol=1e-5)


def test_none_of_them_changes_nothing():
    for scale in (0.0, 1.0, 6.0):
        plain, off = Guided(answer, COND, UNCOND, scale), Guided(answer, COND, UNCOND, scale, extras=Extras())
        d_c, d_u = (answer(X, SIGMA, context=c) for c in (COND, UNCOND))
        assert torch.equal(plain(X, SIGMA), off(X, SIGMA))
        assert torch.equal(off(X, SIGMA), d_c if scale == 1 else d_u + (d_c - d_u) * scale)
