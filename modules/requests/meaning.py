"""What pictures or words mean, asked of the engine between two jobs."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

BATCH = 16


class MeaningRequest(BaseModel):
    """`paths` of pictures, or a `text`; answered with `encoder`, its name, and `vectors` in base64: float16, None for what is no picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paths: Annotated[tuple[str, ...], Field(max_length=BATCH)] = ()
    text: Annotated[str, Field(max_length=500)] = ""
