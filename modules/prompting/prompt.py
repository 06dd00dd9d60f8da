"""A prompt as it was meant: composed parts over time, and the tags that were in it."""

from dataclasses import dataclass

from modules.prompting.compose import split_composed
from modules.prompting.schedule import Span, Timeline, schedule
from modules.prompting.tags import Tag, take_tags

Spans = tuple[Span, ...]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """`parts`: schedules with their weights. `plain`: the text without tags."""

    plain: str
    parts: tuple[tuple[Spans, float], ...]
    tags: tuple[Tag, ...]


def read_prompt(text: str, timeline: Timeline) -> Prompt:
    """Read a prompt for these steps; raises nothing on any text."""
    plain, tags = take_tags(text)
    parts = tuple((schedule(part, timeline), weight) for part, weight in split_composed(plain))
    return Prompt(plain=plain, parts=parts, tags=tags)


def read_negative(text: str, timeline: Timeline) -> Prompt:
    """Read a negative prompt: there AND and tags are text, as in A1111."""
    return Prompt(plain=text, parts=((schedule(text, timeline), 1.0),), tags=())
