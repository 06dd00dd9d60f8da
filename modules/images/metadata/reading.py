"""What a picture file carries beside its pixels, and what a reader made of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modules.images.infotext import format_infotext


@dataclass(frozen=True, kw_only=True)
class Carried:
    """The texts of one picture file by the names of their places; sizes in pixels. `notes`: what is broken in it."""

    format: str
    width: int
    height: int
    texts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def first(self, *names: str) -> str:
        """The first text that is there and not empty, or ""."""
        return next((text for name in names if (text := self.texts.get(name, "").strip())), "")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a picture was made, in A1111's names. `unmapped`: sentences about what A1111's settings cannot say."""

    program: str
    infotext: str = ""
    unmapped: tuple[str, ...] = ()


def in_infotext(
    program: str,
    *,
    prompt: Any = "",
    negative_prompt: Any = "",
    fields: Mapping[str, Any],
    unmapped: Iterable[str] = (),
) -> Reading:
    """A reading whose infotext is made here; fields of None and "" are left out."""
    told = {key: value for key, value in fields.items() if value not in (None, "")}
    infotext = format_infotext(str(prompt or ""), str(negative_prompt or ""), told)
    return Reading(program=program, infotext=infotext, unmapped=tuple(dict.fromkeys(unmapped)))
