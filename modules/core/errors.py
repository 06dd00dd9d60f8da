"""The tree of all errors.

AtelierError                something the user can read and act on
├── InputError              a wrong value: names the field, the value and what to do        (HTTP 422)
│   └── UnknownName         a name that is in no registry, with the nearest ones            (HTTP 422)
├── LoginNeeded             nobody is logged in, or name or password is wrong               (HTTP 401)
├── Forbidden               this user may not do that, or nobody may here                   (HTTP 403)
├── TooManyTries            wrong passwords, and the next one has to wait                   (HTTP 429)
├── NotFound                an id, image or model that is not there                         (HTTP 404)
├── ModelFileError          a checkpoint that is missing, broken, unsafe or not understood  (HTTP 422)
│   └── UnsafeModelFile     one that names code to be run                                   (HTTP 422)
├── StorageError            a folder or disk that cannot be written                         (HTTP 507)
│   ├── DiskFull            one that has no room left                                       (HTTP 507)
│   └── TooMuchUploaded     no more uploads are kept just now                               (HTTP 429)
├── QueueFull               no more jobs are taken just now                                 (HTTP 503)
│   └── TooManyJobs         no more jobs of this user                                       (HTTP 429)
├── RemoteError             another site that cannot be reached, refuses, or answers nonsense        (HTTP 502)
├── NotANumber              a network computed NaN, in the most precise type too             (HTTP 500)
├── EngineDied              the engine process ended or hung in the middle of a job
└── Cancelled               the user interrupted or skipped; not a fault

Errors are caught only at the borders: the page, the API, the worker, the command line.
"""

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path


class AtelierError(Exception):
    """Base of all errors with a sentence for the user: what is wrong, with which value, and what to do."""

    status = 500
    wait: float | None = None  # seconds after which trying again may help

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


class LoginNeeded(AtelierError):
    """Nobody is logged in, or name or password is wrong."""

    status = 401


class Forbidden(AtelierError):
    """This user may not do that, or nobody may where the server can be reached by others."""

    status = 403


class TooManyTries(AtelierError):
    """Passwords were wrong too often: the next one has to wait so many seconds."""

    status = 429

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(message)
        self.wait = wait


class NotFound(AtelierError):
    """The thing asked for is not there (any more)."""

    status = 404


class ModelFileError(AtelierError):
    """A model file that cannot be used."""

    status = 422


class UnsafeModelFile(ModelFileError):
    """A model file that names code to be run."""


class StorageError(AtelierError):
    """A folder or disk that cannot be written."""

    status = 507


class DiskFull(StorageError):
    """The disk that holds `folder` has no room left, or this user none there."""

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder

    def __reduce__(self) -> tuple[type, tuple[str, Path]]:
        return type(self), (self.message, self.folder)


class TooMuchUploaded(StorageError):
    """As much as may be is kept of what was uploaded."""

    status = 429
    wait = 600.0


class QueueFull(AtelierError):
    """The queue takes no more jobs for now."""

    status = 503
    wait = 30.0


class TooManyJobs(QueueFull):
    """The queue takes no more jobs of this user for now."""

    status = 429


class RemoteError(AtelierError):
    """Another site cannot be reached, refuses, or answers nonsense. `temporary`: trying again may help, after `wait` seconds
    if the site says so."""

    status = 502

    def __init__(self, message: str, *, temporary: bool = False, wait: float | None = None) -> None:
        super().__init__(message)
        self.temporary = temporary
        self.wait = wait


class NotANumber(AtelierError):
    """A network computed what is no number. `mend` makes ready for another try and says how it will be, or None if there is none."""

    def __init__(self, message: str, mend: Callable[[], str | None] = lambda: None) -> None:
        super().__init__(message)
        self.mend = mend


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
