"""What a script asks of the user, as data: the page's fields and the API's `script_args`, and their check."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from modules.core.errors import InputError, nearest, short

MAX_TEXT = 200_000
FIELD = "script_args"
NONE = ("", "none")


class ScriptField(BaseModel):
    """One field of a script; its place among them is its place in `script_args`, as in A1111.

    `kind`: text, lines (many), number, whole, switch, choice (one of `choices`, by name or by number from 0), several (names, of `choices` if
    there are any), upscaler (a name, or its number from 0; whether it is there is found out with the files), note (words without a value). `follows`: a field whose choice decides what `several` offers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    label: str
    kind: Literal["text", "lines", "number", "whole", "switch", "choice", "several", "upscaler", "note"]
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    follows: str = ""
    tooltip: str = ""

    def value(self, given: Any, script: str) -> Any:
        """`given` as this field holds it; raises InputError naming the script and the field. None is the default."""
        if self.kind == "note":
            return None
        given = self.default if given is None else given
        found = _READ[self.kind](self, given)
        if found is None:
            raise InputError(
                FIELD, f'{FIELD}: "{self.label}" of {script} is {short(given)}: it must be {self._words()}.'
            )
        return found

    def _words(self) -> str:
        if self.kind == "choice":
            return f"one of {len(self.choices)} choices, by name or number from 0. {nearest('', self.choices)[:-1]}"
        if self.kind in ("number", "whole"):
            word = "a number" if self.kind == "number" else "a whole number"
            low = f" of at least {self.minimum:g}" if self.minimum is not None else ""
            return f"{word}{low}{f' and at most {self.maximum:g}' if self.maximum is not None else ''}"
        names = f"a list of names, of {', '.join(self.choices)}" if self.choices else "a list of names"
        upscaler = "the name of an upscaler or its number from 0"
        return {"switch": "true or false", "several": names, "upscaler": upscaler}.get(
            self.kind, f"text of at most {MAX_TEXT} characters"
        )


def _number(field: ScriptField, given: Any) -> float | int | None:
    try:
        found = float(given) if not isinstance(given, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    low = -math.inf if field.minimum is None else field.minimum
    high = math.inf if field.maximum is None else field.maximum
    if not math.isfinite(found) or not low <= found <= high:
        return None
    if field.kind == "whole":
        return int(found) if found == int(found) else None
    return found


def _text(field: ScriptField, given: Any) -> str | None:
    clean = isinstance(given, str) and len(given) <= MAX_TEXT and not any("\ud800" <= c <= "\udfff" for c in given)
    return given if clean else None


def _switch(field: ScriptField, given: Any) -> bool | None:
    return given if isinstance(given, bool) else None


def _choice(field: ScriptField, given: Any) -> str | None:
    if isinstance(given, int | float) and not isinstance(given, bool):
        return field.choices[int(given)] if given in range(len(field.choices)) else None
    if not isinstance(given, str):
        return None
    return next((name for name in field.choices if name.casefold() == given.strip().casefold()), None)


def _several(field: ScriptField, given: Any) -> tuple[str, ...] | None:
    if given == "":  # what A1111's clients send for none
        return ()
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) > 10_000:
        return None
    if any(_text(field, name) is None for name in given):
        return None
    found = [_choice(field, name) for name in given] if field.choices else given
    return None if None in found else tuple(dict.fromkeys(found))


def _upscaler(field: ScriptField, given: Any) -> str | int | None:
    whole = isinstance(given, int | float) and not isinstance(given, bool) and given in range(10_000)
    return int(given) if whole else _text(field, given)


_READ = {
    "text": _text,
    "lines": _text,
    "number": _number,
    "whole": _number,
    "switch": _switch,
    "choice": _choice,
    "several": _several,
    "upscaler": _upscaler,
}


class Swap(BaseModel):
    """A button of the page that exchanges the values of two groups of fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    first: tuple[str, ...]
    second: tuple[str, ...]


class ScriptEntry(BaseModel):
    """A script by its title, on the tabs that have it; `fields` differ from tab to tab."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    fields: dict[str, tuple[ScriptField, ...]]
    swaps: tuple[Swap, ...] = ()

    def values(self, tab: str, arguments: Sequence[Any]) -> dict[str, Any]:
        """The fields' values by name, from A1111's positional arguments; those left out are the defaults. Raises InputError."""
        fields = self.fields.get(tab)
        if fields is None:
            raise InputError(
                "script_name", f'script_name is "{self.name}": this script works on {", ".join(self.fields)} alone.'
            )
        if len(arguments) > len(fields):
            raise InputError(
                FIELD,
                f"{FIELD} holds {len(arguments)} values: {self.name} takes {len(fields)} at most. Leave out the others.",
            )
        padded = [*arguments, *[None] * (len(fields) - len(arguments))]
        return {field.name: field.value(given, self.name) for field, given in zip(fields, padded, strict=True)}


def is_none(name: str | None) -> bool:
    """Is no script meant?"""
    return name is None or name.strip().casefold() in NONE


def find_script(name: str, entries: Iterable[ScriptEntry]) -> ScriptEntry | None:
    """The script of that title, without regard to case."""
    return next((entry for entry in entries if entry.name.casefold() == name.strip().casefold()), None)
