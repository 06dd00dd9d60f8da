"""Prompts that change from step to step: editing `[from:to:when]` and alternation `[a|b]`.

As in A1111 an edit's `when` is a step, or with a point in it a fraction of the steps. In the hires pass whole numbers
count on from the first pass and fractions run from 1 to 2; the old timeline knows neither and takes every number below
1 for a fraction.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

from lark import Token, Tree
from lark.exceptions import LarkError

from modules.prompting.grammar import parse


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Over which steps a prompt runs. `first_pass`: the steps before, if this is the hires pass. `old`: the old timeline."""

    steps: int
    first_pass: int | None = None
    old: bool = False

    def step(self, when: str) -> int:
        """The last step before an edit with that number takes place: at most `steps`, 0 or less for never."""
        number = float(when)
        if self.old:
            number = number * self.steps if number < 1 else number
        else:
            hires = self.first_pass is not None
            if "." in when:
                number = (number - hires) * self.steps
            else:
                number -= self.first_pass or 0
        return int(max(min(number, self.steps), -1)) if not math.isnan(number) else 0


@dataclass(frozen=True)
class Span:
    """The prompt up to and including step `end` (from 1)."""

    end: int
    text: str


def schedule(text: str, timeline: Timeline) -> tuple[Span, ...]:
    """The prompt's texts over time, the last of them up to the last step; text that makes no sense stands for itself."""
    try:
        tree = parse(text) if "[" in text else None
    except LarkError:
        tree = None
    if tree is None:
        return (Span(timeline.steps, text),)
    leaves, ends = _walk(tree, timeline)
    return tuple(Span(end, _text_at(end, leaves)) for end in sorted(ends))


def _text_at(step: int, leaves: list[tuple[str, int]]) -> str:
    now = 1 << step
    return "".join([leaf for leaf, active in leaves if active & now])


def _walk(tree: Tree[Token], timeline: Timeline) -> tuple[list[tuple[str, int]], set[int]]:
    """The pieces of text in order, each with the set of steps it is there at (bit n is step n), and where texts end."""
    leaves: list[tuple[str, int]] = []
    ends = {timeline.steps}
    waiting: list[tuple[Tree[Token] | Token, int]] = [(tree, _steps(1, timeline.steps))]
    while waiting:
        node, active = waiting.pop()
        if isinstance(node, Token):
            if active:
                leaves.append((str(node), active))
            continue
        if node.data == "edit":
            last = timeline.step(str(node.children[-1]))
            ends.update({last} if last >= 1 else ())
            before = _steps(1, last)
            *first, second, _ = node.children
            children = [*((child, active & before) for child in first), (second, active & ~before)]
        elif node.data == "alternation":
            ends.update(range(1, timeline.steps + 1))
            n = len(node.children)
            children = [(c, active & _every(n, i, timeline.steps)) for i, c in enumerate(node.children)]
        else:
            children = [(child, active) for child in node.children]
        waiting.extend(reversed(children))
    return leaves, ends


def _steps(first: int, last: int) -> int:
    """The set of steps first ... last."""
    return (1 << max(last, 0) + 1) - (1 << first) if last >= first else 0


@lru_cache(maxsize=1000)
def _every(n: int, offset: int, steps: int) -> int:
    """The set of steps 1 + offset, 1 + offset + n, ..."""
    found = 0
    for step in range(1 + offset, steps + 1, n):
        found |= 1 << step
    return found
