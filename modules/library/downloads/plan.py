"""What a download is to fetch, as a site told; kept in the queue's database."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from modules.core.errors import InputError
from modules.library.downloads.names import clean_name, inner_path


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RemoteFile(_Frozen):
    """One file. `path`: its name, or its path in a model folder. Size in bytes and sha256 in hex as the site tells them."""

    url: str
    path: str
    size: int | None = Field(default=None, ge=0)
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        try:
            return inner_path(path)
        except InputError as error:
            raise ValueError(error.message) from error


class Plan(_Frozen):
    """One entry of the queue. `name`: the file's, or the folder's in which all files come to lie (`folder`).

    `site` says whose token may be sent ("" for none); `page` is where a person can read about it; `version` is Civitai's.
    """

    site: str
    title: str
    kind: str
    name: str
    files: tuple[RemoteFile, ...] = Field(min_length=1)
    folder: bool = False
    page: str = ""
    version: int | None = None

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if clean_name(name) != name:
            raise ValueError("must be a plain file name")
        return name

    @property
    def size(self) -> int | None:
        """Bytes in all, if every file's are known."""
        sizes = [file.size for file in self.files]
        return sum(size for size in sizes if size is not None) if None not in sizes else None

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two entries the same download."""
        return (self.kind, *(file.url for file in self.files))
