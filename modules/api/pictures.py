"""Our own routes: pictures by id, live previews, jobs."""

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from modules.api.callers import Caller
from modules.core.errors import NotFound, short
from modules.images.encode import ending_of
from modules.jobs.service import JobService
from modules.jobs.store import ENDED, Image, Job

LATEST = 50
MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp", ".avif": "image/avif", ".gif": "image/gif"}


def build_atelier(service: JobService) -> APIRouter:
    """The routes below `/atelier`."""
    router = APIRouter(prefix="/atelier")

    @router.get("/images/{image_id}")
    def image(image_id: str, request: Request, caller: Caller, download: bool = False) -> Response:
        found = service.desk(caller).image(image_id)
        data = read_picture(found)
        tag = f'"{found.id:x}-{found.made:.6f}-{len(data)}"'
        name = quote(found.path.name, safe="")
        headers = {
            "ETag": tag,
            "Cache-Control": "private, no-cache",  # ids begin anew in another data folder: a browser has to ask
            "Content-Security-Policy": "sandbox",
            "Content-Disposition": f"{'attachment' if download else 'inline'}; filename*=UTF-8''{name}",
        }
        if tag in (part.strip() for part in request.headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=MEDIA[ending_of(data)], headers=headers)

    @router.get("/preview/{job_id}")
    def preview(job_id: str, caller: Caller) -> Response:
        live = service.live(service.desk(caller).job(job_id).id)
        if live is None or live.preview is None:
            raise NotFound(f"Job {short(job_id)} has no live preview just now. Ask again while it runs.")
        return Response(live.preview.data, media_type=live.preview.mime, headers={"Cache-Control": "no-store"})

    @router.get("/jobs")
    def jobs(caller: Caller) -> dict[str, Any]:
        return {"jobs": [report(service, job) for job in service.desk(caller).recent(LATEST)]}

    @router.get("/jobs/{job_id}")
    def job(job_id: str, caller: Caller) -> dict[str, Any]:
        return report(service, service.desk(caller).job(job_id))

    return router


def read_picture(image: Image) -> bytes:
    """Its file; raises NotFound when that has been moved or deleted."""
    try:
        return image.path.read_bytes()
    except OSError as error:
        raise NotFound(
            f'The file "{image.path.name}" of picture {image.id} is not there any more: it was moved or deleted.'
        ) from error


def report(service: JobService, job: Job) -> dict[str, Any]:
    """A job as a client sees it. `position` is the number of jobs before it; times are seconds since 1970."""
    live = service.live(job.id)
    working = live if job.state not in ENDED else None  # what is live outlasts the job's end by a moment
    return {
        "id": job.id,
        "user": job.user,
        "kind": job.kind,
        "state": job.state,
        "position": service.position(job.id),
        "tries": job.tries,
        "progress": working.fraction if working else float(job.state == "done"),
        "seconds_left": working.seconds_left if working else None,
        "phase": working.phase if working else None,
        "message": job.message,
        "warnings": list(live.warnings) if live else [],
        "submitted": job.submitted,
        "started": job.started,
        "ended": job.ended,
        "result": job.info.get("result"),
        "seed": job.seed,
        "request": job.request.model_dump(mode="json"),
        "images": [
            {
                "id": image.id,
                "url": f"/atelier/images/{image.id}",
                "position": image.position,
                "seed": image.seed,
                "infotext": image.infotext,
                "saved": image.kept,
                "incomplete": image.incomplete,
            }
            for image in service.images(job.id)
        ],
    }
