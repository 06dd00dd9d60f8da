"""The tree of all errors.

AtelierError                something the user can read and act on
├── InputError              a wrong value: names the field, the value and what to do        (HTTP 422)
│   └── UnknownName         a name that is in no registry, with the nearest ones            (HTTP 422)
├── NotFound                an id, image or model that is not there                         (HTTP 404)
├── ModelFileError          a checkpoint that is missing, broken, unsafe or not understood  (HTTP 422)
├── StorageError            a folder or disk that cannot be written                         (HTTP 507)
├── QueueFull               no more jobs are taken just now                                 (HTTP 503)
├── EngineDied              the engine process ended or hung in the middle of a job
└── Cancelled               the user interrupted or skipped; not a fault

Errors are caught only at the borders: the page, the API, the worker, the command line.
"""

import difflib
from collections.abc import Iterable


class AtelierError(Exception):
    """Base of all errors with a sentence for the user: what is wrong, with which value, and what to do."""

    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InputError(AtelierError):
    """A value the user gave cannot be used. `field` is its public (API) name."""

    status = 422

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.field, self.message)


class UnknownName(InputError):
    """A name that no registry or folder holds."""

    @classmethod
    def among(cls, field: str, name: object, known: Iterable[str]) -> "UnknownName":
        """Build the error with the names nearest to `name`."""
        return cls(field, f"{field} {short(name)} is not known. {nearest(str(name), known)}")


class NotFound(AtelierError):
    """The thing asked for is not there (any more)."""

    status = 404


class ModelFileError(AtelierError):
    """A model file that cannot be used."""

    status = 422


class StorageError(AtelierError):
    """A folder or disk that cannot be written."""

    status = 507


class QueueFull(AtelierError):
    """The queue takes no more jobs for now."""

    status = 503


class EngineDied(AtelierError):
    """The engine process ended or stopped answering while it worked on a job."""


class Cancelled(AtelierError):
    """The user asked to stop."""

    def __init__(self, message: str = "Stopped by the user.") -> None:
        super().__init__(message)


def short(value: object, length: int = 60) -> str:
    """`value` as it may stand in a sentence: quoted, printable, cut to `length` characters."""
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= length else text[: length - 1] + "…"


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """A sentence with the known names closest to `name`, without regard to case."""
    by_folded = {k.casefold(): k for k in known}
    if not by_folded:
        return "There is none to choose from."
    close = difflib.get_close_matches(name.casefold()[:200], by_folded, n=count, cutoff=0.4)
    choices = [by_folded[c] for c in close] or sorted(by_folded.values())[:count]
    return f"Nearest: {', '.join(choices)}." if close else f"Known are, among others: {', '.join(choices)}."
