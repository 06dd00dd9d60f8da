"""Our own routes for selecting in a picture and for what preprocessors need: `/atelier/select`, `/atelier/preprocessors`."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from modules.api.bodies import Body
from modules.api.encoded import decode_base64
from modules.api.errors import JobFailed
from modules.core.errors import InputError, UnknownName
from modules.core.validation import Text
from modules.images.reading import take_picture
from modules.jobs.service import JobService
from modules.jobs.uploads import Uploads
from modules.library.downloads.queue import Downloads
from modules.library.preprocessors import PreprocessorFiles
from modules.library.segmenters import Segmenters
from modules.requests.events import Failed
from modules.requests.preprocessors import FOLDER, WeightFile
from modules.requests.select import METHODS, SAM, make_select_request

FIELDS = ("method", "points", "away", "box", "text", "confidence", "tolerance")


class SelectBody(Body):
    """`POST /atelier/select`: a picture in base64 as `image`, or the hash of one of `/atelier/uploads` as `upload`; the rest as
    SelectRequest has it."""

    image: Text = ""
    upload: Text = ""
    method: Any = SAM
    points: Any = ()
    away: Any = ()
    box: Any = None
    text: Any = ""
    confidence: Any = 0.3
    tolerance: Any = 24


def build_select(service: JobService, downloads: Downloads | None = None) -> APIRouter:
    """All of them; without `downloads` nothing can be fetched."""
    router = APIRouter(prefix="/atelier")
    segmenters, uploads = Segmenters(service.paths), Uploads(service.paths.cache / "uploads", service.policy.uploads)

    @router.get("/select")
    def methods() -> dict[str, Any]:
        files = {"click": segmenters.missing(text=False), "text": segmenters.missing(text=True)}
        return {
            "methods": [
                {
                    **method.model_dump(),
                    "needs": {name: told(missing) if method.name == SAM else [] for name, missing in files.items()},
                }
                for method in METHODS
            ]
        }

    @router.post("/select")
    def select(body: SelectBody) -> dict[str, Any]:
        if bool(body.image) == bool(body.upload):
            raise InputError("image", "A selection wants one of image (base64) and upload (a hash).")
        picture = (
            uploads.find(body.upload, "upload")
            if body.upload
            else take_picture("image", decode_base64("image", body.image))
        )
        request = make_select_request({**{name: getattr(body, name) for name in FIELDS}, "picture": picture})
        ended = service.errands.ask(request)
        if isinstance(ended, Failed):
            raise JobFailed(ended.kind, ended.message, ended.field)
        return dict(ended.info)

    _add_preprocessors(router, service)
    if downloads is not None:
        _add_downloads(router, service, segmenters, downloads)
    return router


def _add_preprocessors(router: APIRouter, service: JobService) -> None:
    files = PreprocessorFiles(service.paths)

    @router.get("/preprocessors")
    def preprocessors() -> dict[str, Any]:
        """All of them, with their sliders, and what they need that is not here."""
        return {
            "preprocessors": [
                {
                    **entry.model_dump(exclude={"weights"}),
                    "weights": told(entry.weights),
                    "missing": told(files.missing(entry)),
                }
                for entry in service.catalogue.preprocessors
            ]
        }


def _add_downloads(router: APIRouter, service: JobService, segmenters: Segmenters, downloads: Downloads) -> None:
    files = PreprocessorFiles(service.paths)

    @router.post("/preprocessors/{name}/download")
    def fetch(name: str) -> dict[str, Any]:
        return {"downloads": fetched(files.missing(service.catalogue.preprocessor(name)), downloads)}

    @router.post("/select/{way}/download")
    def fetch_segmenter(way: str) -> dict[str, Any]:
        if way not in ("click", "box", "text"):
            raise UnknownName.among("way", way, ("click", "box", "text"))
        return {"downloads": fetched(segmenters.missing(text=way == "text"), downloads)}


def told(weights: Sequence[WeightFile]) -> list[dict[str, Any]]:
    """Files as a client sees them."""
    return [{"file": w.file, "size": w.size, "source": w.source, "licence": w.licence} for w in weights]


def fetched(missing: Sequence[WeightFile], downloads: Downloads) -> list[dict[str, Any]]:
    """The downloads of these files, put into the list; those that are in it already are left out. Raises InputError, RemoteError."""
    plans = [downloads.finder.weights(weight, FOLDER) for weight in missing]
    return [added for added in map(downloads.add_missing, plans) if added]
