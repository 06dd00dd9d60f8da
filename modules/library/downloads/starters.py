"""The curated start set: models that are worth having first, with what they are, how large, and under which licence."""

import json
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field


class Starter(BaseModel):
    """One entry. `gigabytes` is about right; the site tells the exact size. Either `repo` with `file` (none: its diffusers
    folder) at Hugging Face, or `url`. `needs`: the entries that it cannot draw without."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern="^[a-z0-9-]+$")
    title: str
    family: str
    kind: str
    gigabytes: float = Field(gt=0)
    licence: str
    note: str
    repo: str = ""
    file: str | None = None
    url: str = ""
    name: str | None = None
    gated: bool = False
    into: str = ""
    needs: tuple[str, ...] = ()

    @property
    def saved_as(self) -> str:
        """The name that it gets on this disk; `into` is the folder that a tokenizer wants for itself."""
        return self.into or self.name or (self.file or self.url or self.repo).rsplit("/", 1)[-1]


def read_starters() -> tuple[Starter, ...]:
    """All entries, in the order to show them."""
    text = files(__package__ or "modules.library.downloads").joinpath("starters.json").read_text("utf-8")
    return tuple(Starter.model_validate(entry) for entry in json.loads(text))
