"""Guidance that changes from step to step and is composed of several prompts."""

import torch

from modules.sampling.conditioning import Composed, Scheduled, pad_with_empty, pad_with_last
from modules.sampling.guidance import Guided


class Answers:
    """D = sum of the context plus x; counts how many pictures it is asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, x, sigma, *, context):
        assert len(x) == len(sigma) == len(context)
        self.asked.append(len(x))
        return x + context.sum(dim=(1, 2)).view(-1, 1, 1, 1)


def constant(value, length=1):
    return Scheduled.constant(torch.full((length, 1), float(value)))


def changing(ends, values):
    return Scheduled(tuple(ends), tuple(range(len(values))), torch.tensor(values).float().view(-1, 1, 1))


X, SIGMA = torch.zeros(1, 4, 2, 2), torch.ones(1)


def value(denoised):
    (found,) = denoised.unique().tolist()
    return found


def test_composition():
    cond = Composed(((constant(10), 1.0), (constant(4), -0.5)))
    answers = Answers()
    assert value(Guided(answers, [cond], [constant(2)], 3.0)(X, SIGMA)) == 2 + 3 * (10 - 2) + 3 * -0.5 * (4 - 2)
    assert answers.asked == [3]


def test_every_picture_has_its_own_prompt():
    x = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    cond = [Composed(((constant(3), 1.0),)), Composed(((constant(5), 1.0), (constant(7), 1.0)))]
    denoised = Guided(Answers(), cond, [constant(1), constant(2)], 2.0)(x, torch.ones(2))
    assert denoised.flatten().tolist() == [1 + 2 * (3 - 1), 1 + 2 + 2 * (5 - 2) + 2 * (7 - 2)]


def test_schedules_begin_at_step_0_and_start_again_after_the_last():
    guided = Guided(Answers(), [Composed(((changing([2, 3], [5, 6]), 1.0),))], [changing([1, 3], [0, 1])], 1.5)
    found = [value(guided(X, SIGMA)) for _ in range(6)]
    expected = [u + 1.5 * (c - u) for c, u in ((5, 0), (5, 0), (5, 1), (6, 1), (5, 0), (5, 0))]
    assert found == expected


def test_unconditional_is_left_out_only_where_it_has_no_weight():
    for parts, scale, asked in (
        (((constant(5), 1.0),), 1.0, [1]),
        (((constant(5), 0.5),), 2.0, [1]),
        (((constant(5), 0.5),), 1.0, [2]),
        (((constant(5), 0.5), (constant(5), 0.5)), 1.0, [3]),
    ):
        answers = Answers()
        denoised = Guided(answers, [Composed(parts)], [constant(1)], scale)(X, SIGMA)
        assert answers.asked == asked
        weight = scale * sum(w for _, w in parts)
        assert value(denoised) == 1 + weight * (5 - 1)


def test_both_tells_the_unconditional_estimate():
    denoised, unguided = Guided(Answers(), [Composed(((constant(5), 1.0),))], [constant(1)], 1.0).both(X, SIGMA)
    assert (value(denoised), value(unguided)) == (5, 1)


def test_parts_of_unequal_length_are_held_at_their_last_position():
    cond = Composed(((constant(10, 3), 1.0), (constant(4, 2), 1.0)))
    answers = Answers()
    assert value(Guided(answers, [cond], [constant(0)], 1.0)(X, SIGMA)) == 3 * 10 + 3 * 4
    assert answers.asked == [2, 1]


def test_padding_with_empty_chunks():
    empty = torch.tensor([[7.0], [8.0]])
    long, short = constant(1, 6), constant(2, 2)
    cond, uncond = pad_with_empty(Composed(((long, 1.0), (constant(3, 4), 1.0))), short, empty)
    assert uncond.at(0).flatten().tolist() == [2, 2, 7, 8, 7, 8]
    assert [part.length for part, _ in cond.parts] == [6, 6]
    cond, uncond = pad_with_empty(Composed(((short, 0.5), (constant(3, 4), 1.0))), long, empty)
    assert [part.at(0).flatten().tolist() for part, _ in cond.parts] == [[2, 2, 2, 2, 7, 8], [3, 3, 3, 3, 7, 8]]
    assert [weight for _, weight in cond.parts] == [0.5, 1.0]
    assert uncond.length == 6


def test_padding_as_before_version_1_6():
    short, long = Composed(((constant(1, 2), 1.0),)), Composed(((constant(1, 4), 1.0),))
    rising = Scheduled((9,), (0,), torch.tensor([[[1.0], [2.0], [3.0]]]))
    assert pad_with_last(long, rising).at(0).flatten().tolist() == [1, 2, 3, 3]
    assert pad_with_last(short, rising).at(0).flatten().tolist() == [1, 2]
