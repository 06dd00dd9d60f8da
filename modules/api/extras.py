"""A1111's routes for finished pictures: `/sdapi/v1/extra-*`, and its lists of what they can be done with."""

import base64
import html
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from modules.api.bodies import Body
from modules.api.callers import Caller
from modules.api.encoded import decode_base64
from modules.api.errors import JobFailed
from modules.api.headers import Asked, Headers, accepted
from modules.api.paths import told_path
from modules.api.pictures import read_picture
from modules.core.errors import InputError, NotFound, QueueFull, short
from modules.core.user import User
from modules.core.validation import Number, Text, Whole
from modules.images.reading import take_picture
from modules.jobs.desk import Desk
from modules.jobs.service import JobService
from modules.jobs.store import ENDED, Job
from modules.jobs.uploads import Uploads
from modules.library.extras_files import FACES
from modules.library.upscalers import PLAIN, UpscalerFile
from modules.requests.extras import MAX_PICTURES, ExtrasRequest, make_extras_request
from modules.requests.hires import LATENT_MODES

PLAIN_SCALE = 4.0
SAME = (
    *("max_side_length", "remove_background", "split_oversized", "focal_crop", "autosized_crop", "flipped_copies"),
    *("caption", "tags"),
    *("resize_mode", "gfpgan_visibility", "codeformer_visibility", "codeformer_weight", "upscaling_resize"),
    *("upscaling_resize_w", "upscaling_resize_h", "upscaling_crop", "upscaler_1", "upscaler_2"),
    "extras_upscaler_2_visibility",
)
"""Fields that the body and the request both have."""


class ExtrasBody(Body):
    """What both routes take. `upscale_first` has no effect, as in A1111: pictures are made larger before faces are restored. From
    `max_side_length` on: what A1111's page has and its API has not."""

    resize_mode: Whole = 0
    show_extras_results: bool = True
    gfpgan_visibility: Number = 0
    codeformer_visibility: Number = 0
    codeformer_weight: Number = 0
    upscaling_resize: Number = 2
    upscaling_resize_w: Whole = 512
    upscaling_resize_h: Whole = 512
    upscaling_crop: bool = True
    upscaler_1: Text = "None"
    upscaler_2: Text = "None"
    extras_upscaler_2_visibility: Number = 0
    upscale_first: bool = False
    max_side_length: Whole = 0
    remove_background: bool = False
    split_oversized: dict[str, Any] | None = None
    focal_crop: dict[str, Any] | None = None
    autosized_crop: dict[str, Any] | None = None
    flipped_copies: list[Text] = []
    caption: bool = False
    tags: bool = False

    def request(self, files: list[tuple[str, str, str]]) -> ExtrasRequest:
        """The request for pictures (field, base64, name); raises InputError."""
        images = [take_picture(field, decode_base64(field, data)) for field, data, _ in files]
        values = {name: getattr(self, name) for name in SAME}
        names = [name for _, _, name in files]
        return make_extras_request({**values, "images": images, "names": names, "save_images": False})


class SingleBody(ExtrasBody):
    """`POST /sdapi/v1/extra-single-image`."""

    image: Text = ""


class FileBody(Body):
    """One picture of a batch."""

    data: Text
    name: Text


class BatchBody(ExtrasBody):
    """`POST /sdapi/v1/extra-batch-images`. `input_dir`, in place of pictures: a folder of the server, or a video in it, whose results
    are saved to `output_dir`, or to the setting's folder."""

    imageList: list[FileBody] = []
    input_dir: Text = ""
    output_dir: Text = ""

    def whole(self) -> ExtrasRequest:
        """The request for the pictures, or without any for the folder; raises InputError."""
        if self.input_dir.strip() and not self.imageList:
            return make_extras_request({name: getattr(self, name) for name in (*SAME, "input_dir", "output_dir")})
        if not 0 < len(self.imageList) <= MAX_PICTURES:
            raise InputError("imageList", f"imageList holds {len(self.imageList)} pictures: send 1 to {MAX_PICTURES}.")
        return self.request([(f"imageList.{i}.data", file.data, file.name) for i, file in enumerate(self.imageList)])


class InterrogateBody(Body):
    """`POST /sdapi/v1/interrogate`: a picture in base64, or as `upload` the hash of one of `/atelier/uploads`, and who is asked."""

    image: Text = ""
    upload: Text = ""
    model: Text = "clip"


def build_extras(service: JobService) -> APIRouter:
    """All of them."""
    router = APIRouter()

    @router.post("/sdapi/v1/extra-single-image")
    async def extra_single_image(body: SingleBody, caller: Caller, asked: Headers) -> Any:
        request = await run_in_threadpool(body.request, [("image", body.image, "")])
        job = await sent(service.desk(caller), request, body, asked)
        if not asked.wait:
            return accepted(job, asked)
        found = await done(service.desk(caller), job)
        shown = found.pictures if body.show_extras_results else []
        more = {"images": shown} if len(shown) > 1 else {}
        return {"html_info": found.words, "image": shown[0] if shown else "", **more, **found.told}

    @router.post("/sdapi/v1/extra-batch-images")
    async def extra_batch_images(body: BatchBody, caller: Caller, asked: Headers) -> Any:
        request = await run_in_threadpool(body.whole)
        job = await sent(service.desk(caller), request, body, asked)
        if not asked.wait:
            return accepted(job, asked)
        found = await done(service.desk(caller), job)
        shown = found.pictures if body.show_extras_results and not request.input_dir else []
        return {"html_info": found.words, "images": shown, **found.told}

    uploads = Uploads(service.paths.cache / "uploads", service.policy.uploads)

    @router.post("/sdapi/v1/interrogate")
    @router.post("/atelier/interrogate")  # as the page asks, also where the API is closed
    async def interrogate(body: InterrogateBody, caller: Caller) -> dict[str, Any]:
        request = await run_in_threadpool(asked, body, uploads)
        job = await run_in_threadpool(service.desk(caller).submit, request, channel="api")
        found = await done(service.desk(caller), job)
        return {"caption": ", ".join(found.told.get("captions", []))}

    _add_lists(router, service)
    return router


def _add_lists(router: APIRouter, service: JobService) -> None:
    upscaler_files = service.extras.upscalers

    @router.get("/sdapi/v1/upscalers")
    def upscalers(caller: Caller) -> list[dict[str, Any]]:
        plain = [upscaler_of(name, caller) for name in PLAIN]
        return [*plain, *(upscaler_of(file, caller) for file in upscaler_files.list())]

    @router.get("/sdapi/v1/latent-upscale-modes")
    def latent_upscale_modes() -> list[dict[str, Any]]:
        return [{"name": name} for name in LATENT_MODES]

    @router.get("/sdapi/v1/face-restorers")
    def face_restorers(caller: Caller) -> list[dict[str, Any]]:
        return [
            {"name": name, "cmd_dir": told_path(service.paths.own(FACES[name][0]), caller)}
            for name in ("CodeFormer", "GFPGAN")
        ]

    @router.get("/sdapi/v1/realesrgan-models")
    def realesrgan_models(caller: Caller) -> list[dict[str, Any]]:
        files = [file for file in upscaler_files.list() if file.name.startswith("R-ESRGAN")]
        return [{"name": file.name, "path": told_path(file.path, caller), "scale": file.scale} for file in files]


def upscaler_of(file: UpscalerFile | str, user: User) -> dict[str, Any]:
    """An entry of A1111's `/upscalers`."""
    if isinstance(file, str):
        return {"name": file, "model_name": None, "model_path": None, "model_url": None, "scale": PLAIN_SCALE}
    return {
        "name": file.name,
        "model_name": file.path.stem,
        "model_path": told_path(file.path, user),
        "model_url": None,
        "scale": float(file.scale),
    }


MODELS = {"clip": "caption", "deepdanbooru": "tags"}
"""A1111's names of who writes about a picture -> the field of a request that asks for it."""


def asked(body: InterrogateBody, uploads: Uploads) -> ExtrasRequest:
    """The request that has a picture written about; raises InputError, and NotFound for another model."""
    field = MODELS.get(body.model.strip().casefold())
    if field is None:
        raise NotFound(f'model is {short(body.model)}: ask "clip" or "deepdanbooru".')
    given = uploads.find(body.upload, "upload") if body.upload else None
    image = given or take_picture("image", decode_base64("image", body.image))
    return make_extras_request({"images": [image], "upscale": False, field: True, "save_images": False})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a job made: the pictures in base64, what was done in words of HTML, and what there is to tell besides."""

    pictures: list[str]
    words: str
    told: dict[str, Any]


async def sent(desk: Desk, request: ExtrasRequest, body: ExtrasBody, asked: Asked) -> Job:
    """The job of that request, or the one that its key stands for."""
    key = asked.named(body, desk.service.settings.current.system.idempotency_hours)
    return await run_in_threadpool(desk.submit, request, None, "api", key)


async def done(desk: Desk, job: Job) -> Answer:
    """What became of that job, once it has ended; raises JobFailed, QueueFull."""
    async for seen in desk.watch(job.id):
        job = seen
    if job.state not in ENDED:
        raise QueueFull(f'The server is being stopped. Job "{job.id}" goes on when it starts again.')
    if job.state == "failed":
        raise JobFailed(job.info.get("kind") or "EngineDied", job.message or "The job failed.", job.info.get("field"))
    images = desk.images(job.id)
    pictures = await run_in_threadpool(lambda: [base64.b64encode(read_picture(image)).decode() for image in images])
    words = "<br>\n".join(html.escape(line) for line in str(job.info.get("html_info", "")).split("\n"))
    told = {"captions": job.info.get("captions"), "warnings": [job.message] if job.message else None}
    told = {name: value for name, value in told.items() if value}
    return Answer(pictures=pictures, words=f"<p>{words}</p>", told=told)
