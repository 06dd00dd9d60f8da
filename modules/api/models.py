"""The models on disk: A1111's lists of them, and our own listing with search, descriptions and previews."""

import contextlib
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from modules.api.callers import Caller
from modules.api.paths import told_path
from modules.core.errors import AtelierError, InputError, NotFound, short
from modules.core.paths import EMBEDDING, HYPERNETWORK, LORA
from modules.core.user import User
from modules.jobs.service import JobService
from modules.library.checkpoints import Checkpoint, weight_file
from modules.library.embeddings import EmbeddingEntry, list_embeddings, prompt_width
from modules.library.models import Model, kind_of
from modules.library.previews import read_preview

MAX_LIMIT = 1000
MAX_SEARCH = 200


def build_models(service: JobService) -> APIRouter:
    """All of them."""
    router = APIRouter()
    _add_a1111s(router, service)
    _add_ours(router, service)
    return router


def _add_a1111s(router: APIRouter, service: JobService) -> None:
    library = service.library

    @router.get("/sdapi/v1/sd-models")
    def sd_models(caller: Caller) -> list[dict[str, Any]]:
        return [model_of(checkpoint, caller) for checkpoint in service.checkpoints.list()]

    @router.get("/sdapi/v1/sd-vae")
    def sd_vae(caller: Caller) -> list[dict[str, Any]]:
        return [{"model_name": vae.path.name, "filename": told_path(vae.path, caller)} for vae in library.vaes.list()]

    @router.get("/sdapi/v1/loras")
    def loras(caller: Caller) -> list[dict[str, Any]]:
        models = [model for model in library.models(LORA).read_list() if not model.row.trouble]
        return [
            {
                "name": m.stem,
                "alias": m.alias,
                "path": told_path(m.path, caller),
                "metadata": library.index.metadata(m.row.id),
            }
            for m in models
        ]

    @router.get("/sdapi/v1/hypernetworks")
    def hypernetworks(caller: Caller) -> list[dict[str, Any]]:
        models = library.models(HYPERNETWORK).list()
        return [
            {"name": model.stem, "path": told_path(model.path, caller)} for model in models if not model.row.trouble
        ]

    @router.get("/sdapi/v1/embeddings")
    def embeddings() -> dict[str, Any]:
        """Those of another width than the chosen checkpoint's are skipped."""
        wanted = None
        with contextlib.suppress(AtelierError):
            chosen = service.checkpoints.find(service.settings.current.flat()["sd_model_checkpoint"])
            wanted = prompt_width(weight_file(chosen.path))
        entries = list_embeddings(library.paths.folders(EMBEDDING))
        fits = {entry.name: wanted in (None, entry.width) for entry in entries}
        return {
            "loaded": {entry.name: embedding_of(entry) for entry in entries if fits[entry.name]},
            "skipped": {entry.name: embedding_of(entry) for entry in entries if not fits[entry.name]},
        }

    @router.post("/sdapi/v1/refresh-embeddings")
    def refresh_embeddings() -> dict[str, Any]:
        """As `refresh`; A1111 answers this one with an object."""
        library.look()
        return {}

    @router.post("/sdapi/v1/refresh-checkpoints")
    @router.post("/sdapi/v1/refresh-vae")
    @router.post("/sdapi/v1/refresh-loras")
    def refresh() -> None:
        """The folders are looked at in every request; what is new is read and hashed from now on."""
        library.look()


def _add_ours(router: APIRouter, service: JobService) -> None:
    library = service.library

    @router.get("/atelier/models")
    def models(
        kind: str = "",
        search: Annotated[str, Query(max_length=MAX_SEARCH)] = "",
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 100,
    ) -> dict[str, Any]:
        if "\0" in search:
            raise InputError("search", "search holds a NUL character. Remove it.")
        found = library.search(kind_of(kind) if kind else None, search, offset, limit)
        entries = [entry_of(model) for model in found.models]
        return {"total": found.total, "offset": offset, "unread": found.unread, "models": entries}

    @router.get("/atelier/models/preview/{model_id}")
    def preview(model_id: str, request: Request) -> Response:
        row = find_model(service, model_id).row
        data, mime = read_preview(row)
        tag = f'"{row.id:x}-{row.changed:x}-{len(data):x}"'
        headers = {
            "ETag": tag,
            "Cache-Control": "private, no-cache",
            "Content-Security-Policy": "sandbox",
            "X-Content-Type-Options": "nosniff",
            "Content-Disposition": f"inline; filename*=UTF-8''{quote(row.preview or '', safe='')}",
        }
        if tag in (part.strip() for part in request.headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=mime, headers=headers)

    @router.get("/atelier/models/{model_id}")
    def model(model_id: str) -> dict[str, Any]:
        found = find_model(service, model_id)
        told = library.index.description(found.row.id)
        more = {"description": told.text, "notes": told.notes, "negative": told.negative, "weight": told.weight}
        return {**entry_of(found), **more, "metadata": library.index.metadata(found.row.id)}


def find_model(service: JobService, model_id: str) -> Model:
    """The model of that id in the index; raises NotFound."""
    number = model_id if model_id.isascii() and model_id.isdigit() and len(model_id) <= 18 else "0"
    found = service.library.model(int(number))
    if found is None:
        raise NotFound(f"There is no model {short(model_id)}. GET /atelier/models lists those there are.")
    return found


def model_of(checkpoint: Checkpoint, user: User) -> dict[str, Any]:
    """An entry of A1111's `/sd-models`; the hashes are null until the file has been read once."""
    return {
        "title": checkpoint.title,
        "model_name": checkpoint.model_name,
        "hash": checkpoint.short_hash,
        "sha256": checkpoint.sha256,
        "filename": told_path(checkpoint.path, user),
        "config": None,
    }


def embedding_of(entry: EmbeddingEntry) -> dict[str, Any]:
    """An entry of A1111's `/embeddings`."""
    return {
        "step": entry.step,
        "sd_checkpoint": entry.checkpoint,
        "sd_checkpoint_name": entry.checkpoint_name,
        "shape": entry.width,
        "vectors": entry.vectors,
    }


def entry_of(model: Model) -> dict[str, Any]:
    """An entry of our listing. `trouble` says why a file cannot be used; hashes are null until they are known."""
    row, hashes = model.row, model.hashes
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.name,
        "stem": model.stem,
        "alias": model.alias,
        "title": row.title,
        "size": row.size,
        "modified": row.mtime / 1e9,
        "role": row.role,
        "family": row.family,
        "base": row.base,
        "words": list(row.words),
        "trouble": row.trouble or None,
        "preview": f"/atelier/models/preview/{row.id}" if row.preview else None,
        "sha256": hashes.sha256,
        "auto_v1": hashes.old_hash,
        "auto_v2": hashes.auto_v2,
        "auto_v3": row.trainer_hash[:12] or hashes.auto_v3,
    }
