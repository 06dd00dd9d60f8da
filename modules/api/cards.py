"""The cards of LoRAs, embeddings, hypernetworks and checkpoints: listed, searched, described by the user."""

import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from modules.api.callers import Caller
from modules.api.models import MAX_SEARCH, find_model
from modules.api.pictures import read_picture
from modules.core.errors import InputError, NotFound, UnknownName
from modules.core.paths import CHECKPOINT
from modules.core.validation import Number, Text
from modules.images.encode import encode_png, ending_of
from modules.images.reading import decoded
from modules.jobs.service import JobService
from modules.library.cards import PAGES, cards_of, training_tags
from modules.library.models import kind_of
from modules.library.sidecars import Sidecars
from modules.library.thumbnails import Thumbnails

PREFIX = "extra_networks_"


class CardNotes(BaseModel):
    """What the user writes about a model, under A1111's names in `X.json`; what is left out stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    description: Text = Field("", max_length=20_000)
    notes: Text = Field("", max_length=20_000)
    activation_text: Text = Field("", alias="activation text", max_length=10_000)
    preferred_weight: Number = Field(0.0, alias="preferred weight", ge=0, le=10)
    negative_text: Text = Field("", alias="negative text", max_length=10_000)
    vae: Text = Field("", max_length=1000)
    sd_version: Text = Field("", alias="sd version", max_length=100)


class CardPicture(BaseModel):
    """A finished picture, by its id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: int = Field(ge=1, lt=2**60)


def build_cards(service: JobService, thumbnails: Thumbnails) -> APIRouter:
    """The routes below `/atelier/cards`."""
    router = APIRouter(prefix="/atelier/cards")
    library, sidecars = service.library, Sidecars(service.paths)

    @router.get("/{kind}")
    def cards(kind: str) -> Response:
        options = service.settings.current.extra_networks
        shown = cards_of(library, page_of(kind), by_alias=options.lora_preferred_name == "Alias from file")
        chosen = {name.removeprefix(PREFIX): value for name, value in options if name.startswith(PREFIX)}
        found = {"cards": shown, "unread": library.index.unread(), "options": chosen}
        return Response(json.dumps(found), media_type="application/json")  # FastAPI would look at each of thousands

    @router.get("/{kind}/matching")
    def matching(kind: str, search: Annotated[str, Query(max_length=MAX_SEARCH)] = "") -> dict[str, Any]:
        """Ids, of other kinds too: the page knows its own."""
        page_of(kind)
        return {"ids": sorted(library.index.matching(search))}

    @router.get("/{model_id}/notes")
    def notes(model_id: str) -> dict[str, Any]:
        return told(service, sidecars, model_id)

    @router.post("/{model_id}/notes")
    def write_notes(model_id: str, body: CardNotes) -> dict[str, Any]:
        row = find_model(service, model_id).row
        sidecars.write(row, body.model_dump(by_alias=True, exclude_unset=True))
        library.models(row.kind).list()  # so that the change is seen
        return told(service, sidecars, model_id)

    @router.post("/{model_id}/preview")
    def write_preview(model_id: str, body: CardPicture, caller: Caller) -> dict[str, Any]:
        row = find_model(service, model_id).row
        picture = service.desk(caller).image(str(body.image))
        data = read_picture(picture)
        if ending_of(data) != ".png":
            data = encode_png(decoded("image", data), picture.infotext)
        sidecars.write_preview(row, data)
        library.models(row.kind).list()
        return told(service, sidecars, model_id)

    @router.get("/{model_id}/thumbnail")
    def thumbnail(model_id: str, request: Request) -> Response:
        row = find_model(service, model_id).row
        if row.preview is None:
            raise NotFound(f'"{row.name}" has no preview picture. Its card can take one from the gallery.')
        return thumbnail_answer(thumbnails, Path(row.path).parent / row.preview, request)

    return router


def page_of(kind: str) -> str:
    """A kind that has cards; raises UnknownName."""
    found = kind_of(kind)
    if found not in PAGES:
        raise UnknownName.among("kind", kind, PAGES)
    return found


def told(service: JobService, sidecars: Sidecars, model_id: str) -> dict[str, Any]:
    """What the editor shows: the user's own notes as they are stored, and what else is known of the file."""
    model = find_model(service, model_id)
    row, trouble = model.row, ""
    try:
        stored = sidecars.read(row)
    except InputError as error:
        stored, trouble = {}, error.message
    description = service.library.index.description(row.id)
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.name,
        "size": row.size,
        "sha256": model.hashes.sha256,
        "family": row.family,
        "trouble": row.trouble or trouble,
        "stored": {
            field.alias or name: stored.get(field.alias or name) for name, field in CardNotes.model_fields.items()
        },
        "known": {"description": description.text, "activation text": description.activation, "base": description.base},
        "tags": training_tags(model),
        "vaes": [vae.name for vae in service.library.vaes.list()] if row.kind == CHECKPOINT else [],
        "preview": bool(row.preview),
        "metadata": service.library.index.metadata(row.id),
    }


def thumbnail_answer(thumbnails: Thumbnails, path: Path, request: Request) -> Response:
    """The picture made small, or 304; browsers ask again each time, for the file may have changed."""
    data, mime, tag = thumbnails.of(path)
    headers = {
        "ETag": f'"{tag}"',
        "Cache-Control": "private, no-cache",
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    if f'"{tag}"' in (part.strip() for part in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=mime, headers=headers)
