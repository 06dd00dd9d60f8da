"""What the engine tells while it works. Pictures travel as encoded bytes."""

from dataclasses import dataclass, field
from typing import Any

FIRST_GRID = -100_000
"""The number of a job's first grid; the next ones count up from there, all before the pictures."""

FIRST_MAP = 900_000
"""From this number on come the control maps that pictures went by, shown after the pictures; they are no pictures of the job."""

FIRST_WORK = 1_000_000
"""From this number on come pictures that a script works on with: another try of the job has them, and nobody sees them."""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """The engine is reading a checkpoint."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """`step` of `steps` of batch number `batch` (from 0) of `batches` is done. `phase`: the word for what is being done."""

    batch: int
    batches: int
    step: int
    steps: int
    phase: str = "sampling"


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A rough picture of the batch in work."""

    data: bytes = field(repr=False)
    mime: str = "image/jpeg"


@dataclass(frozen=True, kw_only=True)
class ImageReady:
    """Picture number `index` (from 0) of the job: a picture file with its infotext inside.

    `fields` are the values of file-name patterns (seed, width, sampler ...). `incomplete`: interrupted before the last step.
    `name`: what its file is to be called, without suffix, where that is not made from a pattern. `caption`: goes into a text file
    beside it. `grid`: what its file's name begins with, if it is a grid of others; grids are numbered from FIRST_GRID. `keep`: it goes
    among the user's outputs, if the job's request wants that of any.
    """

    index: int
    data: bytes = field(repr=False)
    infotext: str
    seed: int
    fields: dict[str, Any] = field(default_factory=dict)
    incomplete: bool = False
    name: str = ""
    caption: str | None = None
    grid: str = ""
    keep: bool = True


@dataclass(frozen=True, kw_only=True)
class CopyReady:
    """A picture file that is saved beside the job's pictures and not shown: what a picture was before a last change. `suffix` ends its name.

    `init`: it is what a picture was drawn on from, and is saved among those under this name.
    """

    suffix: str = ""
    data: bytes = field(repr=False)
    infotext: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    init: str = ""


@dataclass(frozen=True, kw_only=True)
class MapReady:
    """What a ControlNet unit went by, a PNG file: shown after the job's pictures. `module`: the preprocessor that made it."""

    module: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something the user should know that did not stop the job."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Done:
    """The job has ended. `info` holds what A1111's API puts in `info` beyond the pictures; `stopped`: by the user."""

    info: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The job could not be done: `kind` is the error's class, `message` a sentence for the user."""

    kind: str
    message: str
    field: str | None = None


def is_picture(position: int) -> bool:
    """Is that the number of a picture which the job was to draw, and not of a grid, a control map or a script's work?"""
    return 0 <= position < FIRST_MAP


Event = Loading | Progress | Preview | ImageReady | CopyReady | MapReady | Warned | Done | Failed


@dataclass(frozen=True, kw_only=True)
class Order:
    """One job as the engine gets it.

    `seed` is the first picture's, drawn when the job was submitted; `done` counts pictures already on disk from an
    earlier try, `kept` brings them back where a script may need them; `options` is the settings snapshot (option name -> value);
    `notes` are infotext fields besides those of the request; `user` is the name of whoever asked, if there are accounts.
    """

    job: str
    request: Any
    seed: int
    options: dict[str, Any]
    done: frozenset[int] = frozenset()
    kept: tuple[ImageReady, ...] = field(default=(), repr=False)
    notes: dict[str, Any] = field(default_factory=dict)
    user: str = ""
