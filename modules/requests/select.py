"""What is to be selected in a picture, by clicks, a box or words; answered with a mask."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from modules.core.errors import InputError
from modules.core.validation import Number, Text, input_error
from modules.requests.pictures import Picture
from modules.requests.preprocessors import WeightFile

SAM, GRABCUT, SIMILAR = "Segment Anything", "GrabCut", "Similar colours"
MAX_POINTS = 64

MOBILE_SAM = WeightFile(
    file="mobile_sam.pt",
    size=40_700_000,
    repo="dhkim2810/MobileSAM",
    path="mobile_sam.pt",
    licence="Apache 2.0",
)
GROUNDING = WeightFile(
    file="grounding-dino-tiny", size=690_000_000, repo="IDEA-Research/grounding-dino-tiny", licence="Apache 2.0"
)


class Method(BaseModel):
    """A way to select. `takes`: what it can be told by; `needs`: files for that (any of their kind will do)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    takes: tuple[Literal["click", "box", "text"], ...]
    words: str


METHODS = (
    Method(name=SAM, takes=("click", "box", "text"), words="What a click, a box or words mean, by Segment Anything"),
    Method(name=GRABCUT, takes=("click", "box"), words="What stands out in a box or about a click; needs no download"),
    Method(name=SIMILAR, takes=("click",), words="What is joined to the click and as coloured; needs no download"),
)

Place = tuple[Number, Number]
Share = Annotated[Number, Field(ge=0, le=1)]


class SelectRequest(BaseModel):
    """Places in pixels of the picture; what lies outside it is moved to its edge.

    `points` belong to what is selected, `away` do not. `box`: left, top, right, bottom. `text`: what to find (Grounding DINO), as sure
    as `confidence`. `tolerance`: how far colours may differ (Similar colours).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    picture: Picture
    method: Literal["Segment Anything", "GrabCut", "Similar colours"] = SAM
    points: Annotated[tuple[Place, ...], Field(max_length=MAX_POINTS)] = ()
    away: Annotated[tuple[Place, ...], Field(max_length=MAX_POINTS)] = ()
    box: tuple[Number, Number, Number, Number] | None = None
    text: Annotated[Text, Field(max_length=1000)] = ""
    confidence: Share = 0.3
    tolerance: Annotated[Number, Field(ge=0, le=255)] = 24

    @model_validator(mode="after")
    def _told(self) -> "SelectRequest":
        takes = next(method.takes for method in METHODS if method.name == self.method)
        said = {"click": bool(self.points), "box": self.box is not None, "text": bool(self.text.strip())}
        if not any(said.values()):
            raise ValueError("must say what to select: send points, a box or text")
        wrong = [way for way, given in said.items() if given and way not in takes]
        if wrong:
            raise ValueError(f"cannot be {self.method} with a {wrong[0]}: it takes a {' or a '.join(takes)}")
        return self


def make_select_request(values: Mapping[str, Any]) -> SelectRequest:
    """The request; raises InputError for the first wrong value."""
    try:
        return SelectRequest.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:
            raise InputError("method", f"method {first.get('ctx', {}).get('error')}.") from error
        raise input_error(error) from error


def inside(place: tuple[float, float], size: tuple[int, int]) -> tuple[int, int]:
    """The pixel of a picture (width, height) that is nearest."""
    return tuple(min(max(math.floor(value), 0), side - 1) for value, side in zip(place, size, strict=True))  # type: ignore[return-value]
