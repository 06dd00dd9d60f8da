"""Pictures inside requests: their bytes travel beside the request, which names them by hash."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Model = TypeVar("Model", bound=BaseModel)


class Picture(BaseModel):
    """A picture file (PNG, JPEG, WEBP ...) found good when it came in. Its `data` is not in the request's JSON: the job store keeps it
    under the `sha256`, once however often it is used; it is empty where only the request is looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    data: bytes = Field(b"", exclude=True, repr=False)

    @classmethod
    def of(cls, data: bytes) -> "Picture":
        """The picture in that file."""
        return cls(sha256=sha256(data).hexdigest(), data=data)


def pictures_of(value: Any) -> Iterator[Picture]:
    """All pictures in a request, however deep, in its order."""
    if isinstance(value, Picture):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from pictures_of(getattr(value, name))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from pictures_of(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from pictures_of(part)


def with_pictures(request: Model, found: Mapping[str, bytes]) -> Model:
    """The request with its pictures' bytes, by their hashes; raises KeyError for one that is not there."""
    changed = {name: _filled(getattr(request, name), found) for name in type(request).model_fields}
    return request.model_copy(update=changed)


def _filled(value: Any, found: Mapping[str, bytes]) -> Any:
    if isinstance(value, Picture):
        return value if value.data else Picture(sha256=value.sha256, data=found[value.sha256])
    if isinstance(value, BaseModel):
        return with_pictures(value, found)
    if isinstance(value, tuple):
        return tuple(_filled(part, found) for part in value)
    if isinstance(value, list):
        return [_filled(part, found) for part in value]
    if isinstance(value, Mapping):
        return {name: _filled(part, found) for name, part in value.items()}
    return value
