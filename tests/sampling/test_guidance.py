"""Guidance on denoisers that answer with the mean of their context."""

import pytest
import torch

from modules.sampling.guidance import Guided, Skips
from modules.sampling.registry import build_samplers

X, SIGMA = torch.zeros(2, 4, 8, 8), torch.ones(2)
COND, UNCOND = torch.full((2, 77, 3), 2.0), torch.full((2, 77, 3), 1.0)


class Answers:
    """D = mean of the context, at any x; counts what it is asked."""

    def __init__(self):
        self.asked = self.calls = 0

    def __call__(self, x, sigma, *, context):
        self.asked += len(x)
        self.calls += 1
        return torch.ones_like(x) * context.mean(dim=(1, 2)).view(-1, 1, 1, 1)


def value(denoised):
    return denoised.unique().tolist()


def test_scale():
    for negative in (UNCOND, torch.full((2, 154, 3), 1.0)):  # in one batch, and in two of unequal length
        assert value(Guided(Answers(), COND, negative, 3.0)(X, SIGMA)) == [4.0]
    assert value(Guided(Answers(), COND, UNCOND, 0.0)(X, SIGMA)) == [1.0]
    model = Answers()
    assert value(Guided(model, COND, UNCOND, 1.0)(X, SIGMA)) == [2.0]
    assert model.asked == 2


@pytest.mark.parametrize(("together", "calls"), [(True, 1), (False, 2)])
def test_one_batch_or_two(together, calls):
    model = Answers()
    assert value(Guided(model, COND, UNCOND, 3.0, together=together)(X, SIGMA)) == [4.0]
    assert (model.calls, model.asked) == (calls, 4)


def test_both():
    denoised, unguided = Guided(Answers(), COND, UNCOND, 1.0).both(X, SIGMA)
    assert (value(denoised), value(unguided)) == ([2.0], [1.0])


@pytest.mark.parametrize(
    ("skips", "found"),
    [
        (Skips(below=2.0), [4, 2, 4, 2]),
        (Skips(below=2.0, every=True), [2, 2, 2, 2]),
        (Skips(below=0.5), [4, 4, 4, 4]),
        (Skips(until=1.5), [2, 2, 4, 4]),
        (Skips(until=1.0), [2, 2, 4, 4]),
        (Skips(), [4, 4, 4, 4]),
    ],
)
def test_skipped_calls(skips, found):
    model = Answers()
    guided = Guided(model, COND, UNCOND, 3.0, skips=skips)
    assert [value(guided(X, SIGMA))[0] for _ in found] == found
    assert model.asked == sum(2 if answer == 2 else 4 for answer in found)


def test_plus_takes_a_twelfth_of_the_scale():
    assert build_samplers().get("DDIM CFG++").guidance == 1 / 12.5


def test_extra_latents_follow_their_pictures():
    from modules.sampling.conditioning import Composed, Scheduled

    seen = []

    def model(x, sigma, *, context, extra=None):
        assert extra is not None
        seen.append(extra[:, 0, 0, 0].tolist())
        return x

    extra = torch.tensor([5.0, 6.0]).view(2, 1, 1, 1).expand(2, 5, 8, 8)
    part = Scheduled.constant(torch.zeros(77, 3))
    composed, uncond = [Composed(((part, 1.0), (part, 0.5)))] * 2, [part] * 2
    Guided(model, composed, uncond, 3.0, extra=extra)(X, SIGMA)
    Guided(model, composed, uncond, 3.0, extra=extra, together=False)(X, SIGMA)
    Guided(model, COND, UNCOND, 1.0, extra=extra)(X, SIGMA)
    Guided(model, COND, UNCOND, 3.0, extra=extra, skips=Skips(until=1.0))(X, SIGMA)
    assert seen == [[5, 5, 6, 6, 5, 6], [5, 5, 6, 6], [5, 6], [5, 6], [5, 6]]
