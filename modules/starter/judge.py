"""Compares what the reader sees in a picture with the scene that was asked for."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from .reader import Reading, Seen
from .scene import Scene, Thing


@dataclass(frozen=True)
class Verdict:
    """What is right in one picture. Of two things: `both` kinds and colours, and `related`, both and the right relation too."""

    kind: float
    colour: float
    place: float
    style: float
    both: float | None
    related: float | None
    nothing_else: float


def judge(scene: Scene, reading: Reading) -> Verdict:
    """`kind` and `colour` are the shares of the things asked for: found, and found in their colour."""
    found = match(scene.things, reading.things)
    kinds = [bool(seen) and seen.kind == thing.kind for thing, seen in zip(scene.things, found, strict=True)]
    colours = [bool(seen) and seen.colour == thing.colour for thing, seen in zip(scene.things, found, strict=True)]
    both = related = None
    if len(scene.things) == 2:
        both = float(all(kinds) and all(colours))
        related = float(bool(both) and bool(found[0]) and bool(found[1]) and stands(scene.relation, found[0], found[1]))
    return Verdict(
        kind=sum(kinds) / len(kinds), colour=sum(colours) / len(colours), place=float(reading.place == scene.place),
        style=float(reading.style == scene.style), both=both, related=related, nothing_else=float(len(reading.things) == len(scene.things)),
    )  # fmt: skip


def match(things: tuple[Thing, ...], seen: tuple[Seen, ...]) -> list[Seen | None]:
    """For each thing the sighting of its kind, surest first; else the surest one left over; else none."""
    left = list(seen)
    found: list[Seen | None] = []
    for thing in things:
        same = next((one for one in left if one.kind == thing.kind), None)
        found.append(same)
        if same:
            left.remove(same)
    return [one or (left.pop(0) if left else None) for one in found]


def stands(relation: str | None, first: Seen | None, second: Seen | None) -> bool:
    """Whether the first stands so to the second, farther along that axis than across it by no more than it should."""
    if first is None or second is None:
        return False
    dx, dy = first.x - second.x, first.y - second.y
    along = {"left": -dx, "right": dx, "above": -dy, "below": dy}[relation or "left"]
    across = dy if relation in ("left", "right") else dx
    return along > 0 and along > abs(across)


def means(verdicts: Iterable[Verdict]) -> dict[str, float]:
    """The mean of each field over those pictures that have it."""
    rows = list(verdicts)
    columns = {
        field.name: [value for row in rows if (value := getattr(row, field.name)) is not None]
        for field in fields(Verdict)
    }
    return {name: sum(values) / len(values) for name, values in columns.items() if values}
