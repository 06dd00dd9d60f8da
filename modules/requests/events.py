"""What the engine tells while it works. Pictures travel as encoded bytes."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Loading:
    """The engine is reading a checkpoint."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """`step` of `steps` of batch number `batch` (from 0) of `batches` is done."""

    batch: int
    batches: int
    step: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A rough picture of the batch in work."""

    data: bytes = field(repr=False)
    mime: str = "image/jpeg"


@dataclass(frozen=True, kw_only=True)
class ImageReady:
    """Picture number `index` (from 0) of the job: a PNG with its infotext inside.

    `fields` are the values of file-name patterns (seed, width, sampler ...). `incomplete`: interrupted before the last step.
    """

    index: int
    data: bytes = field(repr=False)
    infotext: str
    seed: int
    fields: dict[str, Any] = field(default_factory=dict)
    incomplete: bool = False


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


Event = Loading | Progress | Preview | ImageReady | Warned | Done | Failed


@dataclass(frozen=True, kw_only=True)
class Order:
    """One job as the engine gets it.

    `seed` is the first picture's, drawn when the job was submitted; `done` counts pictures already on disk from an
    earlier try; `options` is the settings snapshot (option name -> value).
    """

    job: str
    request: Any
    seed: int
    options: dict[str, Any]
    done: frozenset[int] = frozenset()
