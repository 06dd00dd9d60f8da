"""DeepCache: what is computed and what is taken from the last full step."""

import pytest
import torch

from modules.patches.caching import Rows
from modules.patches.deep_cache import branches, deep_cache
from modules.patches.freeu import freeu
from tests.patches.unets import ask, inputs, small_unet

BOTH = (("cond", 1), ("uncond", 1))


@pytest.fixture(scope="module")
def unet():
    return small_unet()


class Counter:
    """How often a module computes."""

    def __init__(self, module):
        self.calls = 0
        inner = module.forward

        def counting(*args, **kwargs):
            self.calls += 1
            return inner(*args, **kwargs)

        module.forward = counting


def test_the_first_step_and_every_nth_are_computed_in_full():
    unet = small_unet()
    x, context = inputs()
    plain = ask(unet, x, context)
    rows, middle, last = Rows(), Counter(unet.mid_block), Counter(unet.up_blocks[-1].resnets[-1])
    with deep_cache(unet, rows, interval=3, branch=0):
        for call in range(7):
            rows(call, BOTH)
            answer = ask(unet, x, context)
            assert torch.equal(answer, plain)  # nothing changed, so the cache is what would be computed
    assert (middle.calls, last.calls) == (3, 7)


@pytest.mark.parametrize("branch", range(branches(small_unet().config)))
def test_every_branch_answers_for_another_picture(unet, branch):
    x, context = inputs(height=18, width=20)  # halves unevenly
    rows = Rows()
    with deep_cache(unet, rows, interval=2, branch=branch):
        rows(0, BOTH)
        full = ask(unet, x, context)
        rows(1, BOTH)
        answer = ask(unet, x * 0.5, context, t=300)
    plain = ask(unet, x * 0.5, context, t=300)
    assert answer.shape == plain.shape
    assert not torch.equal(answer, plain)
    assert not torch.equal(answer, full)


def test_deeper_branches_are_nearer(unet):
    x, context = inputs()
    far = []
    for branch in (0, branches(unet.config) - 1):
        rows = Rows()
        with deep_cache(unet, rows, interval=2, branch=branch):
            rows(0, BOTH)
            ask(unet, x, context)
            rows(1, BOTH)
            far.append((ask(unet, x * 0.9, context, t=400) - ask_plain(x * 0.9, context)).norm())
    assert far[1] < far[0]


def ask_plain(x, context):
    return ask(small_unet(), x, context, t=400)


def test_groups_have_caches_of_their_own(unet):
    x, context = inputs()
    together, apart = Rows(), Rows()
    with deep_cache(unet, together, interval=2, branch=1):
        together(0, BOTH)
        ask(unet, x, context)
        together(1, BOTH)
        expected = ask(unet, x * 0.7, context)
    with deep_cache(unet, apart, interval=2, branch=1):
        found = []
        for call, scale in ((0, 1.0), (1, 0.7)):
            for i, group in enumerate(("cond", "uncond")):
                apart(call, ((group, 1),))
                found.append(ask(unet, x[i : i + 1] * scale, context[i : i + 1]))
    torch.testing.assert_close(torch.cat(found[2:]), expected, rtol=1e-4, atol=1e-5)


def test_rows_that_are_new_or_not_told_of_are_computed(unet):
    x, context = inputs()
    plain = ask(unet, x * 0.5, context)
    rows = Rows()
    with deep_cache(unet, rows, interval=5, branch=0):
        rows(0, (("cond", 2),))
        ask(unet, x, context)
        for groups in ((("uncond", 2),), (), BOTH, (("cond", 3),)):
            rows(1, groups)
            assert torch.equal(ask(unet, x * 0.5, context), plain)


def test_goes_with_a_controlnets_residuals(unet):
    x, context = inputs()
    shapes = [(32, 16), (32, 16), (32, 8), (64, 8), (64, 4), (128, 4)]
    down = [torch.full((2, c, side, side), 0.1) for c, side in shapes]
    middle = torch.full((2, 128, 4, 4), 0.1)

    def controlled(scale):
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        return unet(x * scale, torch.full((2,), 500.0), encoder_hidden_states=context, **residuals, return_dict=False)[
            0
        ]

    plain = controlled(1)
    rows = Rows()
    with deep_cache(unet, rows, interval=3, branch=0):
        rows(0, BOTH)
        assert torch.equal(controlled(1), plain)
        rows(1, BOTH)
        assert torch.equal(controlled(1), plain)
        assert not torch.equal(controlled(0.5), plain)


def test_goes_with_freeu_in_any_order(unet):
    x, context = inputs()

    def drawn(outer, inner, rows):
        with outer, inner:
            rows(0, BOTH)
            ask(unet, x, context)
            rows(1, BOTH)
            return ask(unet, x * 0.5, context)

    def patches():
        rows = Rows()
        return freeu(unet, b=(1.3, 1.4), s=(0.9, 0.2)), deep_cache(unet, rows, interval=2, branch=0), rows

    free, deep, rows = patches()
    one = drawn(free, deep, rows)
    free, deep, rows = patches()
    assert torch.equal(drawn(deep, free, rows), one)


def test_a_branch_that_is_not_there(unet):
    with pytest.raises(IndexError), deep_cache(unet, Rows(), interval=2, branch=branches(unet.config)):
        pass
