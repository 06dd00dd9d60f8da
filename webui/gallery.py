"""What the page asks beside its job: saving a picture apart, all of a job in one file."""

import csv
import io
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from fastapi import APIRouter
from starlette.responses import StreamingResponse

from modules.api.callers import Caller
from modules.api.pictures import read_picture
from modules.core.errors import InputError, NotFound, StorageError
from modules.core.files import storage_sentence, write_atomic
from modules.images.filenames import apply_pattern, sanitize
from modules.images.infotext import parse_infotext
from modules.jobs.service import JobService
from modules.jobs.store import Image

SAVED = Path("log/images")  # A1111's outdir_save
HEADER = (
    *("prompt", "seed", "width", "height", "sampler", "cfgs", "steps"),
    *("filename", "negative_prompt", "sd_model_name", "sd_model_hash"),
)
CHUNK = 2**18
MAX_JOBS = 100  # in one file
ARCHIVE = "[datetime]_[[model_name]]_[seed]-[seed_last]"


def build_gallery(service: JobService) -> APIRouter:
    """The routes below /atelier."""
    router = APIRouter(prefix="/atelier", include_in_schema=False)

    @router.post("/images/{image_id}/save")
    def save(image_id: str, caller: Caller) -> dict[str, Any]:
        found = service.desk(caller).image(image_id)
        return {"saved": save_apart(service.paths.outputs / SAVED, found).name}

    @router.get("/jobs/{job_ids}/zip")
    def archive(job_ids: str, caller: Caller) -> StreamingResponse:
        """Of a job, or of several: their ids are joined by commas."""
        desk, ids = service.desk(caller), list(dict.fromkeys(job_ids.split(",")))
        if len(ids) > MAX_JOBS:
            raise InputError("job_ids", f"job_ids are {len(ids)}: at most {MAX_JOBS} go into one file.")
        images = [image for job_id in ids for image in desk.images(job_id)]
        if not images:
            raise NotFound("That job has no pictures yet. Ask again when it has.")
        name = quote(archive_name(images, service.settings.current.grids.grid_zip_filename_pattern), safe="")
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Cache-Control": "no-store"}
        return StreamingResponse(_chunks(packed(images)), media_type="application/zip", headers=headers)

    return router


def save_apart(folder: Path, image: Image) -> Path:
    """A copy of the picture in that folder, and a line about it in the folder's log.csv as A1111 writes it. Raises StorageError."""
    data = read_picture(image)
    number, path = 0, folder / image.path.name
    while path.exists() and path.read_bytes() != data:
        number += 1
        path = folder / f"{image.path.stem}-{number}{image.path.suffix}"
    try:
        write_atomic(path, data)
        log = folder / "log.csv"
        lines = io.StringIO(newline="")
        writer = csv.writer(lines)
        if not log.exists():
            writer.writerow(HEADER)
        writer.writerow(_row(image, path.name))
        with log.open("a", encoding="utf-8", newline="") as file:
            file.write(lines.getvalue())
    except OSError as error:
        raise StorageError(storage_sentence(error, folder)) from error
    return path


def archive_name(images: list[Image], pattern: str) -> str:
    """What A1111 calls an archive of them: the pattern, or its own, with the first picture's values."""
    parsed = parse_infotext(images[0].infotext)
    fields = parsed.fields
    width, _, height = fields.get("Size", "").partition("x")
    values = {
        "prompt": parsed.prompt,
        "seed": images[0].seed,
        "seed_first": images[0].seed,
        "seed_last": images[-1].seed,
        "steps": fields.get("Steps", ""),
        "cfg": fields.get("CFG scale", ""),
        "width": width,
        "height": height,
        "sampler": fields.get("Sampler", ""),
        "scheduler": fields.get("Schedule type", ""),
        "model_hash": fields.get("Model hash", ""),
        "model_name": fields.get("Model", ""),
        "batch_size": len(images),
    }
    if not pattern.strip():
        pattern = ARCHIVE if len(images) > 1 else ARCHIVE.removesuffix("-[seed_last]")
    return f"{apply_pattern(pattern, values, datetime.now()) or 'pictures'}.zip"


def packed(images: list[Image]) -> IO[bytes]:
    """A ZIP file of them, read from its beginning; those whose files are gone are left out. Raises NotFound if all are."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by whoever reads it
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for number, image in enumerate(images):
            try:
                archive.writestr(f"{number:05}-{sanitize(image.path.name)}", read_picture(image))
            except NotFound:
                continue
        empty = not archive.namelist()
    if empty:
        file.close()
        raise NotFound("The pictures of that job are not there any more: they were moved or deleted.")
    file.seek(0)
    return file


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while data := file.read(CHUNK):
            yield data


def _row(image: Image, filename: str) -> tuple[Any, ...]:
    parsed = parse_infotext(image.infotext)
    fields = parsed.fields
    width, _, height = fields.get("Size", "").partition("x")
    return (
        parsed.prompt,
        image.seed,
        width,
        height,
        fields.get("Sampler", ""),
        fields.get("CFG scale", ""),
        fields.get("Steps", ""),
        filename,
        parsed.negative_prompt,
        fields.get("Model", ""),
        fields.get("Model hash", ""),
    )
