"""What the page asks beside its job: saving a picture apart, all of a job in one file."""

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from starlette.responses import StreamingResponse

from modules.api.archives import zip_answer
from modules.api.callers import Caller
from modules.api.pictures import read_picture
from modules.core.errors import InputError, NotFound, StorageError
from modules.core.files import storage_sentence, write_atomic
from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.images.filenames import apply_pattern, sanitize
from modules.images.infotext import parse_infotext
from modules.jobs.service import JobService
from modules.jobs.store import Image
from modules.jobs.writer import output_folder

HEADER = (
    *("prompt", "seed", "width", "height", "sampler", "cfgs", "steps"),
    *("filename", "negative_prompt", "sd_model_name", "sd_model_hash"),
)
MAX_JOBS = 100  # in one file
COMPUTED = ("=", "+", "-", "@", "\t", "\r")
ARCHIVE = "[datetime]_[[model_name]]_[seed]-[seed_last]"


def build_gallery(service: JobService) -> APIRouter:
    """The routes below /atelier."""
    router = APIRouter(prefix="/atelier", include_in_schema=False)

    @router.post("/images/{image_id}/save")
    def save(image_id: str, caller: Caller) -> dict[str, Any]:
        """Of a picture, or of all that its job shows. `saved`: where the first of them lies, `count` of so many."""
        desk, settings = service.desk(caller), service.settings.current
        found = desk.image(image_id)
        images = [found] if settings.saving.save_selected_only else desk.images(found.job)
        made = [save_apart(service.paths, settings, image) for image in images]
        root = service.paths.outputs.resolve()
        shown = made[0].relative_to(root) if made[0].is_relative_to(root) else made[0]
        return {"saved": shown.as_posix(), "count": len(made)}

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
        return zip_answer(files_of(images), f"attachment; filename*=UTF-8''{name}")

    return router


def save_apart(paths: Paths, settings: Settings, image: Image) -> Path:
    """A copy of the picture in the folder that the settings name, and a line about it in that folder's log.csv as A1111 writes it.
    Raises InputError, NotFound, StorageError."""
    data, saving = read_picture(image), settings.saving
    folder = within = output_folder(paths, saving.outdir_save, "outdir_save")
    if saving.use_save_to_dirs_for_ui:
        words = saving.directories_max_prompt_words
        name = apply_pattern(saving.directories_filename_pattern, values_of(image), datetime.now(), words)
        within = folder / (name or ".")
    number, path = 0, within / image.path.name
    while path.exists() and path.read_bytes() != data:
        number += 1
        path = within / f"{image.path.stem}-{number}{image.path.suffix}"
    try:
        write_atomic(path, data)
        if saving.save_write_log_csv:
            _log(folder / "log.csv", _row(image, path.relative_to(folder).as_posix()))
    except OSError as error:
        raise StorageError(storage_sentence(error, folder)) from error
    return path


def _log(log: Path, row: tuple[Any, ...]) -> None:
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    if not log.exists():
        writer.writerow(HEADER)
    writer.writerow([_plain(value) for value in row])
    with log.open("a", encoding="utf-8", newline="") as file:
        file.write(lines.getvalue())


def _plain(value: Any) -> Any:
    """The value as text for spreadsheets too, which would compute what begins so."""
    return f"'{value}" if isinstance(value, str) and value.startswith(COMPUTED) else value


def archive_name(images: list[Image], pattern: str) -> str:
    """What A1111 calls an archive of them: the pattern, or its own, with the first picture's values."""
    values = {**values_of(images[0]), "seed_last": images[-1].seed, "batch_size": len(images)}
    if not pattern.strip():
        pattern = ARCHIVE if len(images) > 1 else ARCHIVE.removesuffix("-[seed_last]")
    return f"{apply_pattern(pattern, values, datetime.now()) or 'pictures'}.zip"


def values_of(image: Image) -> dict[str, Any]:
    """The values of name patterns, from a picture's infotext."""
    parsed = parse_infotext(image.infotext)
    fields = parsed.fields
    width, _, height = fields.get("Size", "").partition("x")
    return {
        "prompt": parsed.prompt,
        "seed": image.seed,
        "seed_first": image.seed,
        "steps": fields.get("Steps", ""),
        "cfg": fields.get("CFG scale", ""),
        "width": width,
        "height": height,
        "sampler": fields.get("Sampler", ""),
        "scheduler": fields.get("Schedule type", ""),
        "model_hash": fields.get("Model hash", ""),
        "model_name": fields.get("Model", ""),
    }


def files_of(images: list[Image]) -> Iterator[tuple[str, bytes]]:
    """Name and data of each; those whose files are gone are left out. Raises NotFound if all are."""
    empty = True
    for number, image in enumerate(images):
        try:
            data = read_picture(image)
        except NotFound:
            continue
        empty = False
        yield f"{number:05}-{sanitize(image.path.name)}", data
    if empty:
        raise NotFound("The pictures of that job are not there any more: they were moved or deleted.")


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
