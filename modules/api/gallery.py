"""The gallery: every picture of the output folders, by id alone."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form, Path, Query
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.requests import Request
from starlette.responses import Response

from modules.api.archives import zip_answer
from modules.api.callers import Caller
from modules.api.cards import thumbnail_answer
from modules.api.pictures import MEDIA
from modules.core.errors import InputError, NotFound
from modules.core.user import User
from modules.core.validation import Text
from modules.images.bare import without_texts
from modules.images.encode import ending_of
from modules.images.filenames import sanitize
from modules.jobs.meaning import MeaningSearch
from modules.library.album.album import Album
from modules.library.album.query import parse_query
from modules.library.album.schema import Entry
from modules.library.album.store import ORDERS
from modules.library.thumbnails import Thumbnails

MAX_IDS = 1_000_000
MAX_ZIP = 2000

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


def build_gallery_routes(album: Album, thumbnails: Thumbnails, meaning: MeaningSearch) -> APIRouter:
    """The routes below `/atelier/gallery`."""
    router = APIRouter(prefix="/atelier/gallery")
    _add_lists(router, album, meaning)
    _add_changes(router, album)
    _add_boards(router, album)
    _add_pictures(router, album, thumbnails)
    return router


def _add_lists(router: APIRouter, album: Album, meaning: MeaningSearch) -> None:
    store = album.store

    @router.get("")
    def pictures(
        search: Annotated[str, Query(max_length=500)] = "",
        view: Literal["all", "favourites", "trash"] = "all",
        board: Annotated[int | None, Query(ge=1, lt=2**60)] = None,
        folder: Annotated[str, Query(max_length=1000)] = "",
        order: str = next(iter(ORDERS)),
        by_meaning: bool = False,
        *,
        caller: Caller,
    ) -> Response:
        """With `by_meaning`, and for `similar:` in the search, the nearest pictures come first, whatever the order."""
        if order not in ORDERS:
            raise InputError("order", f"order must be one of: {', '.join(ORDERS)}.")
        album.used()
        version = store.version
        roots = [str(root) for root in album.roots()]
        owner = owner_of(caller)
        where = {"view": view, "board": board, "folder": folder, "order": order, "roots": roots, "owner": owner}
        if board is not None:
            store.check_board(board, owner or "")
        ids = store.ids(search, **where, by_meaning=by_meaning)
        query = parse_query(search, by_meaning=by_meaning)
        if query.similar is not None:
            store.entry(query.similar, owner)
            ids = meaning.like_picture(query.similar, ids)
        elif query.said:
            ids = meaning.like_words(query.said, ids)
        found = {"version": version, "ids": ids, "favourites": store.favourites(owner)}
        return Response(json.dumps(found), media_type="application/json")  # FastAPI would look at each of 100,000

    @router.get("/state")
    def state(caller: Caller) -> dict[str, Any]:
        album.used()
        return {
            **store.summary([str(root) for root in album.roots()], owner_of(caller)),
            "scanning": album.scanning,
            "unseen": meaning.missing(owner_of(caller)),
        }

    @router.get("/version")
    def version() -> dict[str, Any]:
        album.used()
        return {"version": store.version, "scanning": album.scanning}

    @router.post("/refresh")
    def refresh() -> dict[str, Any]:
        album.look()
        return {}


def _add_changes(router: APIRouter, album: Album) -> None:
    store, trash = album.store, album.trash

    @router.post("/favourite")
    def favourite(body: Favourites, caller: Caller) -> dict[str, Any]:
        store.set_favourite(store.owned(body.ids, owner_of(caller)), body.value)
        return {}

    @router.post("/delete")
    def delete(body: Pictures, caller: Caller) -> dict[str, Any]:
        """Into the trash."""
        return {"troubles": trash.delete(store.owned(body.ids, owner_of(caller)))}

    @router.post("/restore")
    def restore(body: Pictures, caller: Caller) -> dict[str, Any]:
        """Out of the trash again."""
        return {"troubles": trash.restore(store.owned(body.ids, owner_of(caller)))}

    @router.post("/purge")
    def purge(body: Pictures, caller: Caller) -> dict[str, Any]:
        """For good, of those in the trash."""
        trash.purge(ids=store.owned(body.ids, owner_of(caller)))
        return {}


def _add_boards(router: APIRouter, album: Album) -> None:
    store = album.store

    @router.post("/boards")
    def add(body: OnBoard, caller: Caller) -> dict[str, Any]:
        owner = owner_of(caller)
        return {"id": store.to_board(body.name, store.owned(body.ids, owner), owner or "")}

    @router.post("/boards/{board}/rename")
    def rename(board: BoardId, body: OnBoard, caller: Caller) -> dict[str, Any]:
        store.check_board(board, owner_of(caller) or "")
        store.rename_board(board, body.name)
        return {}

    @router.post("/boards/{board}/remove")
    def remove(board: BoardId, body: Pictures, caller: Caller) -> dict[str, Any]:
        store.check_board(board, owner_of(caller) or "")
        store.from_board(board, body.ids)
        return {}

    @router.post("/boards/{board}/delete")
    def delete(board: BoardId, caller: Caller) -> dict[str, Any]:
        store.check_board(board, owner_of(caller) or "")
        store.from_board(board, None)
        return {}


def _add_pictures(router: APIRouter, album: Album, thumbnails: Thumbnails) -> None:
    @router.post("/zip")
    def archive(
        ids: Annotated[str, Form(max_length=10 * MAX_ZIP)], caller: Caller, metadata: Annotated[bool, Form()] = True
    ) -> Response:
        """Takes a form: `ids` joined by commas, with or without what the files tell."""
        parts = ids.split(",")
        if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts) or len(parts) > MAX_ZIP:
            raise InputError("ids", f"ids must be 1 to {MAX_ZIP} numbers of pictures, joined by commas.")
        name = f"pictures-{datetime.now():%Y%m%d%H%M%S}.zip"
        owned = album.store.owned([int(part) for part in parts], owner_of(caller))
        return zip_answer(zipped(album, owned, metadata), f'attachment; filename="{name}"')

    @router.get("/{picture}/thumbnail")
    def thumbnail(picture: str, request: Request, caller: Caller) -> Response:
        return thumbnail_answer(thumbnails, album.file(found(album, picture, caller)), request)

    @router.get("/{picture}/file")
    def file(picture: str, caller: Caller, download: bool = False) -> Response:
        entry = found(album, picture, caller)
        data = _read(album, entry)
        headers = {
            "Cache-Control": "private, no-cache",
            "Content-Security-Policy": "sandbox",
            "X-Content-Type-Options": "nosniff",
            "Content-Disposition": f"{'attachment' if download else 'inline'}; filename*=UTF-8''{quote(entry.path.name, safe='')}",
        }
        return Response(data, media_type=MEDIA[ending_of(data)], headers=headers)

    @router.get("/{picture}")
    def picture(picture: str, caller: Caller) -> dict[str, Any]:
        entry = found(album, picture, caller)
        parents, children = album.store.related(entry, owner_of(caller))
        return told(entry, parents, children)


def owner_of(caller: User) -> str | None:
    """Whose pictures and boards they see; None: everybody's pictures, and the administrators' boards."""
    return None if caller.admin else caller.name


def found(album: Album, picture: str, caller: User) -> Entry:
    """The picture of that id; raises NotFound."""
    number = picture if picture.isascii() and picture.isdigit() and len(picture) <= 18 else "0"
    return album.store.entry(int(number), owner_of(caller))


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


def zipped(album: Album, ids: list[int], metadata: bool) -> Iterator[tuple[str, bytes]]:
    """Name and data of each; those that are gone are left out. Raises NotFound if all are."""
    empty = True
    for number, id in enumerate(ids):
        try:
            entry = album.store.entry(id)
            data = _read(album, entry)
            data = data if metadata else without_texts(data)
        except (NotFound, InputError):
            continue
        empty = False
        yield f"{number:05}-{sanitize(entry.path.name)}", data
    if empty:
        raise NotFound("None of these pictures is there any more: they were moved or deleted.")


def _read(album: Album, entry: Entry) -> bytes:
    """The file's bytes, if they are a picture's; raises NotFound."""
    try:
        data = album.file(entry).read_bytes()
    except OSError as error:
        raise NotFound(f'The file of "{entry.path.name}" cannot be read any more.') from error
    if ending_of(data) == ".png" and not data.startswith(b"\x89PNG"):
        raise NotFound(f'"{entry.path.name}" is no picture, whatever it is called.')
    return data
