"""A1111's `/sd_extra_networks/*`: the preview, the covers, the metadata and the card of a model that has one."""

import json
from html import escape
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from modules.api.encoded import decode_base64
from modules.api.pictures import MEDIA
from modules.core.errors import Forbidden, InputError, ModelFileError, NotFound, UnknownName, short
from modules.images.encode import ending_of
from modules.images.reading import loaded
from modules.jobs.service import JobService
from modules.library.cards import PAGES
from modules.library.header import read_header
from modules.library.models import Model
from modules.library.previews import read_preview

COVERS = "ssmd_cover_images"
Name = Annotated[str, Query(max_length=4096)]


def build_extra_networks(service: JobService) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/sd_extra_networks")
    headers = {"Cache-Control": "private, no-cache", "Content-Security-Policy": "sandbox"}

    @router.get("/thumb")
    def thumb(filename: Name = "") -> Response:
        """The preview at that path, as `filename` of a card or below a folder of models; nothing else of the disk."""
        data, mime = read_preview(shown_by(service, filename).row)
        return Response(data, media_type=mime, headers=headers)

    @router.get("/cover-images")
    def cover_images(page: Name = "", item: Name = "", index: Annotated[int, Query(ge=0, le=1000)] = 0) -> Response:
        model = find_item(service, page, item)
        data = cover_of(model, index)
        return Response(data, media_type=MEDIA[ending_of(data)], headers=headers)

    @router.get("/metadata")
    def metadata(page: Name = "", item: Name = "") -> JSONResponse:
        """As text in JSON, indented; an empty object for a model that tells nothing and for one that is not there."""
        try:
            model = find_item(service, page, item)
        except NotFound:
            return JSONResponse({})
        service.library.models(model.row.kind).read_list()
        found: dict[str, Any] = service.library.index.metadata(model.row.id)
        told = {name: value for name, value in found.items() if name != COVERS}
        return JSONResponse({"metadata": json.dumps(told, indent=4, ensure_ascii=False)} if told else {})

    @router.get("/get-single-card")
    def get_single_card(page: Name = "", tabname: Name = "", name: Name = "") -> JSONResponse:
        """Its HTML, for pages that show cards of their own."""
        return JSONResponse({"html": card_of(find_item(service, page, name), tabname)})

    return router


def card_of(model: Model, tab: str) -> str:
    """A card in HTML: preview and name, which are text whatever they hold."""
    name = escape(model.stem)
    address = f"sd_extra_networks/thumb?filename={quote(str(preview_path(model)), safe='')}"
    preview = f'<img class="preview" loading="lazy" alt="" src="{escape(address)}">' if model.row.preview else ""
    return (
        f'<div class="card" data-name="{name}" data-tab="{escape(tab)}">{preview}<span class="name">{name}</span></div>'
    )


def shown_by(service: JobService, filename: str) -> Model:
    """The model whose preview that is. Raises Forbidden for everything else, whether it is there or not."""
    for kind in PAGES:
        for model in service.library.models(kind).list():
            if model.row.preview and filename in (str(path := preview_path(model)), path.name):
                return model
    raise Forbidden(f"filename {short(filename)} is no preview of a model. GET /atelier/cards/KIND lists the models.")


def preview_path(model: Model) -> Path:
    """Where its preview lies."""
    return Path(model.row.path).parent / (model.row.preview or "")


def find_item(service: JobService, page: str, item: str) -> Model:
    """The model of that page ("lora", "textual inversion" ...) by its name; raises NotFound."""
    wanted = page.replace("_", " ").casefold()
    kind = next((kind for kind, title in PAGES.items() if title.casefold() == wanted), None)
    if kind is None:
        raise NotFound(f"There is no page {short(page)}. It is one of {', '.join(PAGES.values())}, in small letters.")
    try:
        return service.library.models(kind).find(item, "item")
    except UnknownName as error:
        raise NotFound(error.message) from error


def cover_of(model: Model, index: int) -> bytes:
    """A picture in a safetensors file's own metadata. Raises NotFound."""
    nothing = NotFound(f'"{model.row.name}" holds no cover picture {index}. Try 0, or another model.')
    try:
        covers = json.loads(read_header(model.path).metadata[COVERS])
        data = decode_base64("cover", covers[index])
        loaded("cover", data).close()
        return data
    except (ModelFileError, InputError, OSError, KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise nothing from error
