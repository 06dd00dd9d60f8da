"""What live previews may spend, on a clock of the test's own."""

import pytest

from modules.engine.budget import LOOKS, SHARE, Budget


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Drawing:
    """Batches of steps of a second each, with a preview after each step that the budget allows."""

    def __init__(self):
        self.clock = Clock()
        self.budget = Budget(self.clock)

    def batch(self, cost, *, steps=20, method="x"):
        """How many previews of that cost are shown."""
        shown = 0
        self.budget.begin()
        for _ in range(steps):
            self.clock.now += 1
            if self.budget.allows(method):
                shown += 1
                self.clock.now += cost
                self.budget.spend(method)
        return shown


def test_cheap_ones_are_all_shown():
    assert Drawing().batch(SHARE / 2) == 20


@pytest.mark.parametrize("cost", [0.05, 0.1, 0.2, 0.4])
def test_dear_ones_take_no_more_than_their_share(cost):
    drawing = Drawing()
    shown = sum(drawing.batch(cost) for _ in range(10))
    assert LOOKS < shown <= SHARE * 200 / cost + LOOKS


def test_those_that_are_dearer_than_a_picture_allows_are_given_up():
    drawing = Drawing()
    shown = [drawing.batch(5.0) for _ in range(60)]
    assert sum(shown) == LOOKS
    assert shown[0] == 1


def test_a_first_time_that_took_long_is_not_held_against_a_method():
    drawing = Drawing()
    drawing.budget.begin()
    drawing.clock.now += 1
    assert drawing.budget.allows("x")
    drawing.clock.now += 3
    drawing.budget.spend("x")
    assert sum(drawing.batch(SHARE / 2) for _ in range(10)) > 50


def test_methods_have_costs_of_their_own():
    drawing = Drawing()
    for _ in range(30):
        drawing.batch(5.0, method="dear")
    assert not drawing.budget.allows("dear")
    assert drawing.budget.allows("cheap")


def test_what_is_done_once_is_not_counted():
    drawing = Drawing()
    drawing.budget.begin()
    drawing.clock.now += 50
    drawing.budget.rest()
    assert drawing.batch(SHARE / 2) == 20


def test_savings_last_one_picture():
    drawing = Drawing()
    for _ in range(10):
        drawing.batch(0.0)
    assert drawing.batch(0.2) <= SHARE * 40 / 0.2 + LOOKS
