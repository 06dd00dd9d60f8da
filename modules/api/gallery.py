"""The gallery: every picture of the output folders, by id alone."""

import json
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form, Path, Query
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from modules.api.cards import thumbnail_answer
from modules.api.pictures import MEDIA
from modules.core.errors import InputError, NotFound
from modules.core.validation import Text
from modules.images.bare import without_texts
from modules.images.encode import ending_of
from modules.images.filenames import sanitize
from modules.library.album.album import Album
from modules.library.album.schema import Entry
from modules.library.album.store import ORDERS
from modules.library.thumbnails import Thumbnails

MAX_IDS = 1_000_000
MAX_ZIP = 2000
CHUNK = 2**18

BoardId = Annotated[int, Path(ge=1, lt=2**60)]


class Pictures(BaseModel):
    """Pictures of the gallery, by their ids."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: tuple[Annotated[int, Field(ge=1, lt=2**60)], ...] = Field(max_length=MAX_IDS)


class Favourites(Pictures):
    """Whether they are favourites."""

    value: bool


class OnBoard(Pictures):
    """A board's name, and what is put on it."""

    name: Text = Field(max_length=100)

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not value.strip() or not value.isprintable():
            raise ValueError("must be a name of printable letters")
        return value.strip()


def build_gallery_routes(album: Album, thumbnails: Thumbnails) -> APIRouter:
    """The routes below `/atelier/gallery`."""
    router = APIRouter(prefix="/atelier/gallery")
    _add_lists(router, album)
    _add_changes(router, album)
    _add_boards(router, album)
    _add_pictures(router, album, thumbnails)
    return router


def _add_lists(router: APIRouter, album: Album) -> None:
    store = album.store

    @router.get("")
    def pictures(
        search: Annotated[str, Query(max_length=500)] = "",
        view: Literal["all", "favourites", "trash"] = "all",
        board: Annotated[int | None, Query(ge=1, lt=2**60)] = None,
        folder: Annotated[str, Query(max_length=1000)] = "",
        order: str = next(iter(ORDERS)),
    ) -> Response:
        if order not in ORDERS:
            raise InputError("order", f"order must be one of: {', '.join(ORDERS)}.")
        album.used()
        version = store.version
        roots = [str(root) for root in album.roots()]
        ids = store.ids(search, view=view, board=board, folder=folder, order=order, roots=roots)
        found = {"version": version, "ids": ids, "favourites": store.favourites()}
        return Response(json.dumps(found), media_type="application/json")  # FastAPI would look at each of 100,000

    @router.get("/state")
    def state() -> dict[str, Any]:
        album.used()
        return {**store.summary([str(root) for root in album.roots()]), "scanning": album.scanning}

    @router.get("/version")
    def version() -> dict[str, Any]:
        album.used()
        return {"version": store.version, "scanning": album.scanning}

    @router.post("/refresh")
    def refresh() -> dict[str, Any]:
        album.look()
        return {}


def _add_changes(router: APIRouter, album: Album) -> None:
    trash = album.trash

    @router.post("/favourite")
    def favourite(body: Favourites) -> dict[str, Any]:
        album.store.set_favourite(body.ids, body.value)
        return {}

    @router.post("/delete")
    def delete(body: Pictures) -> dict[str, Any]:
        """Into the trash."""
        return {"troubles": trash.delete(body.ids)}

    @router.post("/restore")
    def restore(body: Pictures) -> dict[str, Any]:
        """Out of the trash again."""
        return {"troubles": trash.restore(body.ids)}

    @router.post("/purge")
    def purge(body: Pictures) -> dict[str, Any]:
        """For good, of those in the trash."""
        trash.purge(ids=body.ids)
        return {}


def _add_boards(router: APIRouter, album: Album) -> None:
    store = album.store

    @router.post("/boards")
    def add(body: OnBoard) -> dict[str, Any]:
        return {"id": store.to_board(body.name, body.ids)}

    @router.post("/boards/{board}/rename")
    def rename(board: BoardId, body: OnBoard) -> dict[str, Any]:
        store.rename_board(board, body.name)
        return {}

    @router.post("/boards/{board}/remove")
    def remove(board: BoardId, body: Pictures) -> dict[str, Any]:
        store.from_board(board, body.ids)
        return {}

    @router.post("/boards/{board}/delete")
    def delete(board: BoardId) -> dict[str, Any]:
        store.from_board(board, None)
        return {}


def _add_pictures(router: APIRouter, album: Album, thumbnails: Thumbnails) -> None:
    @router.post("/zip")
    def archive(
        ids: Annotated[str, Form(max_length=10 * MAX_ZIP)], metadata: Annotated[bool, Form()] = True
    ) -> Response:
        """Takes a form: `ids` joined by commas, with or without what the files tell."""
        parts = ids.split(",")
        if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts) or len(parts) > MAX_ZIP:
            raise InputError("ids", f"ids must be 1 to {MAX_ZIP} numbers of pictures, joined by commas.")
        packed = zipped(album, [int(part) for part in parts], metadata)
        headers = {"Content-Disposition": f'attachment; filename="pictures-{datetime.now():%Y%m%d%H%M%S}.zip"'}
        return StreamingResponse(_chunks(packed), media_type="application/zip", headers=headers)

    @router.get("/{picture}/thumbnail")
    def thumbnail(picture: str, request: Request) -> Response:
        return thumbnail_answer(thumbnails, album.file(found(album, picture)), request)

    @router.get("/{picture}/file")
    def file(picture: str, download: bool = False) -> Response:
        entry = found(album, picture)
        data = _read(album, entry)
        headers = {
            "Cache-Control": "private, no-cache",
            "Content-Security-Policy": "sandbox",
            "X-Content-Type-Options": "nosniff",
            "Content-Disposition": f"{'attachment' if download else 'inline'}; filename*=UTF-8''{quote(entry.path.name, safe='')}",
        }
        return Response(data, media_type=MEDIA[ending_of(data)], headers=headers)

    @router.get("/{picture}")
    def picture(picture: str) -> dict[str, Any]:
        entry = found(album, picture)
        parents, children = album.store.related(entry)
        return told(entry, parents, children)


def found(album: Album, picture: str) -> Entry:
    """The picture of that id; raises NotFound."""
    number = picture if picture.isascii() and picture.isdigit() and len(picture) <= 18 else "0"
    return album.store.entry(int(number))


def told(entry: Entry, parents: list[int], children: list[int]) -> dict[str, Any]:
    """What the page shows of it. Names are below the picture's folder: no path of the machine is told."""
    return {
        "id": entry.id,
        "name": entry.name,
        "folder": entry.folder,
        "size": entry.size,
        "modified": entry.mtime / 1e9,
        "width": entry.width,
        "height": entry.height,
        "program": entry.program,
        "infotext": entry.infotext,
        "trouble": entry.trouble or None,
        "favourite": bool(entry.favourite),
        "deleted": entry.deleted,
        "parents": parents,
        "children": children,
    }


def zipped(album: Album, ids: list[int], metadata: bool) -> IO[bytes]:
    """A ZIP file of them, read from its beginning; those that are gone are left out. Raises NotFound if all are."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by whoever reads it
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for number, id in enumerate(ids):
            try:
                entry = album.store.entry(id)
                data = _read(album, entry)
                name = sanitize(entry.path.name)
                archive.writestr(f"{number:05}-{name}", data if metadata else without_texts(data))
            except (NotFound, InputError):
                continue
        empty = not archive.namelist()
    if empty:
        file.close()
        raise NotFound("None of these pictures is there any more: they were moved or deleted.")
    file.seek(0)
    return file


def _read(album: Album, entry: Entry) -> bytes:
    """The file's bytes, if they are a picture's; raises NotFound."""
    try:
        data = album.file(entry).read_bytes()
    except OSError as error:
        raise NotFound(f'The file of "{entry.path.name}" cannot be read any more.') from error
    if ending_of(data) == ".png" and not data.startswith(b"\x89PNG"):
        raise NotFound(f'"{entry.path.name}" is no picture, whatever it is called.')
    return data


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while data := file.read(CHUNK):
            yield data
