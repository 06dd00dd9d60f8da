"""The one place that saves pictures: file first, whole or not at all; then the row in the job store."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from modules.core.errors import AtelierError, InputError, StorageError, short
from modules.core.files import write_atomic
from modules.core.paths import ROOT, Paths
from modules.core.settings import Settings, SettingsFile
from modules.images.encode import ending_of
from modules.images.filenames import apply_pattern, next_number, sanitize
from modules.jobs.store import Job, JobStore
from modules.library.album.album import Album
from modules.requests.events import FIRST_WORK, CopyReady, ImageReady
from modules.requests.extras import ExtrasRequest
from modules.requests.img2img import Img2ImgRequest
from modules.requests.pictures import pictures_of

OUTPUTS = (
    *("outdir_txt2img_samples", "outdir_img2img_samples", "outdir_extras_samples"),
    *("outdir_txt2img_grids", "outdir_img2img_grids"),
)
"""The settings that name folders for pictures."""

CODE = ("modules", "webui", "extensions", "tests", "venv", ".git", ".ci")


class Writer:
    """Saves the pictures of jobs into outputs, or into the results cache when they are not to be kept."""

    def __init__(self, paths: Paths, store: JobStore, album: Album) -> None:
        self._paths = paths
        self._store = store
        self._album = album

    def write(self, job: Job, settings: Settings, event: ImageReady | CopyReady) -> str | None:
        """`save` or `save_copy`."""
        return (
            self.save(job, settings, event) if isinstance(event, ImageReady) else self.save_copy(job, settings, event)
        )

    def save(self, job: Job, settings: Settings, image: ImageReady) -> str | None:
        """Save one picture. If its folder cannot be written it goes to the results cache, and the reason is returned.

        Raises StorageError when neither place takes it.
        """
        saving = settings.saving
        wanted = settings.grids.grid_save if image.grid else saving.samples_save
        kept = (
            job.request.save_images
            and image.keep
            and wanted
            and (saving.save_incomplete_images or not image.incomplete)
        )
        trouble = None
        if kept:
            try:
                path = (
                    self._grid_in_outputs(job, settings, image)
                    if image.grid
                    else self._in_outputs(job, settings, image)
                )
                self._record(job, image, path, kept=True)
                return None
            except (StorageError, InputError) as error:
                trouble = f"{error.message} The picture is shown here but not saved in outputs: download it."
        number = f"{image.grid}{image.index}" if image.grid else f"{image.index:05}"
        path = self._paths.cache / "results" / job.id / f"{number}{ending_of(image.data)}"
        write_atomic(path, image.data)
        self._record(job, image, path, kept=False)
        return trouble

    def save_copy(self, job: Job, settings: Settings, copy: CopyReady) -> str | None:
        """Save what a picture was before, if the job's pictures are saved at all; the reason why that could not be done."""
        if not (job.request.save_images and settings.saving.samples_save):
            return None
        try:
            self._in_outputs(job, settings, copy, copy.suffix)
        except (StorageError, InputError) as error:
            return f"{error.message} The copy {copy.suffix} is not saved."
        return None

    def prune(self, before: float) -> None:
        """Delete pictures of the results cache that are older than that time."""
        _delete(self._store.forget_unkept(before))

    def drop_work(self, job_id: str) -> None:
        """Delete what the job's script worked on with; what cannot be deleted now goes with the other results some day."""
        with contextlib.suppress(StorageError):
            _delete(self._store.forget_from(job_id, FIRST_WORK))

    def _record(self, job: Job, image: ImageReady, path: Path, *, kept: bool) -> None:
        self._store.add_image(
            job=job.id,
            position=image.index,
            path=path,
            infotext=image.infotext,
            seed=image.seed,
            kept=kept,
            incomplete=image.incomplete,
        )
        if kept:
            parents = [picture.sha256 for picture in pictures_of(job.request)]
            self._album.add(path, image.data, image.infotext, parents)

    def _in_outputs(self, job: Job, settings: Settings, image: ImageReady | CopyReady, suffix: str = "") -> Path:
        now = datetime.now()
        saving, plain = settings.saving, isinstance(job.request, ExtrasRequest)
        folder = output_folder(self._paths, *folder_asked(job.request, settings.flat()))
        if (
            isinstance(image, ImageReady) and plain
        ):  # A1111 saves what comes from Extras without sub-folders, under its number or its old name
            name = sanitize(image.name) if settings.postprocessing.use_original_name_batch else ""
        else:
            if saving.save_to_dirs:
                folder = folder / (apply_pattern(saving.directories_filename_pattern, image.fields, now) or ".")
            pattern = saving.samples_filename_pattern or ("[seed]" if saving.save_to_dirs else "[seed]-[prompt_spaces]")
            name = apply_pattern(pattern, image.fields, now) + suffix
        try:
            number = next_number(folder)
        except OSError as error:
            raise StorageError(
                f'The folder "{folder}" cannot be read: {error.strerror}. Check its permissions.'
            ) from error
        ending = ending_of(image.data, saving.samples_format)
        numbered = not name or (saving.save_images_add_number and not plain)
        path = folder / (f"{number:05}-{name}".rstrip("-") + ending if numbered else f"{name}{ending}")
        while path.exists():
            number += 1
            path = folder / (f"{number:05}-{name}".rstrip("-") + ending if numbered else f"{name}-{number}{ending}")
        write_atomic(path, image.data)
        if isinstance(image, ImageReady) and image.caption is not None:
            write_atomic(path.with_suffix(".txt"), image.caption.encode())
        return path

    def _grid_in_outputs(self, job: Job, settings: Settings, image: ImageReady) -> Path:
        """Grids are counted by the word that begins their names: grid-0000, grid-0001 ..."""
        now, grids = datetime.now(), settings.grids
        option = "outdir_img2img_grids" if isinstance(job.request, Img2ImgRequest) else "outdir_txt2img_grids"
        folder = output_folder(self._paths, getattr(grids, option), option)
        if grids.grid_save_to_dirs:
            folder = folder / (apply_pattern(settings.saving.directories_filename_pattern, image.fields, now) or ".")
        more = f"-{apply_pattern('[seed]-[prompt_spaces]', image.fields, now)}" if grids.grid_extended_filename else ""
        try:
            taken = {path.name[: len(image.grid) + 5] for path in folder.iterdir()} if folder.is_dir() else set()
        except OSError as error:
            raise StorageError(
                f'The folder "{folder}" cannot be read: {error.strerror}. Check its permissions.'
            ) from error
        number = next(n for n in itertools.count() if f"{image.grid}-{n:04}" not in taken)
        path = folder / f"{image.grid}-{number:04}{more}{ending_of(image.data, grids.grid_format)}"
        write_atomic(path, image.data)
        return path


def picture_folders(paths: Paths, settings: Settings) -> list[Path]:
    """Every folder whose pictures the gallery shows: where pictures are saved to, and those that `gallery_folders` names."""
    flat = settings.flat()
    found = [paths.outputs / "outputs", paths.outputs / "log" / "images"]
    for option in OUTPUTS:
        with contextlib.suppress(InputError):
            found.append(output_folder(paths, str(flat[option]), option))
    for line in flat["gallery_folders"].splitlines():
        with contextlib.suppress(InputError):
            found += gallery_folders(paths, line)
    return [folder.resolve() for folder in found]


def gallery_folders(paths: Paths, setting: str) -> list[Path]:
    """The folders that the setting names, one a line; raises InputError for one that is none, or that holds the program or its data."""
    found = []
    for line in filter(None, (line.strip() for line in setting.splitlines())):
        folder = output_folder(paths, line, "gallery_folders")
        if not folder.is_dir():
            raise InputError(
                "gallery_folders", f"gallery_folders: there is no folder {short(line)}. Write one that is there."
            )
        if any(held.resolve().is_relative_to(folder) for held in (ROOT, paths.data, *paths.models)):
            raise InputError(
                "gallery_folders",
                f"gallery_folders: {short(line)} holds the program or its data. Name the folder of pictures itself.",
            )
        found.append(folder)
    return found


def album_of(paths: Paths, settings: SettingsFile) -> Album:
    """The album of these folders."""
    return Album(
        paths.data,
        lambda: picture_folders(paths, settings.current),
        lambda: settings.current.gallery.gallery_trash_days,
    )


def _delete(paths: Iterable[Path]) -> None:
    """Files, and their folders once they are empty."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()


def folder_asked(request: Any, options: Mapping[str, Any]) -> tuple[str, str]:
    """Where the pictures of that request go, as its own folder or the setting says it, and the name of that field."""
    if isinstance(request, ExtrasRequest):
        if request.output_dir.strip():
            return request.output_dir.strip(), "output_dir"
        return str(options.get("outdir_extras_samples", "outputs/extras-images")), "outdir_extras_samples"
    field = "outdir_img2img_samples" if isinstance(request, Img2ImgRequest) else "outdir_txt2img_samples"
    return str(options.get(field, "")), field


def outputs_of(paths: Paths, jobs: Iterable[Job]) -> Iterator[Path]:
    """The folders of those jobs' pictures, as far as there are any."""
    for folder in {folder_asked(job.request, job.options) for job in jobs}:
        with contextlib.suppress(AtelierError):
            yield output_folder(paths, *folder)


def output_folder(paths: Paths, setting: str, field: str = "outdir_txt2img_samples") -> Path:
    """The folder that an `outdir_*` setting or another field names; raises InputError for a place that holds the program."""
    try:
        folder = (paths.outputs / Path(setting).expanduser()).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a NUL, ~ of nobody
        raise InputError(field, f"{field} {short(setting)} is no folder: {error}. Choose another.") from error
    if folder == ROOT or any(folder.is_relative_to(ROOT / part) for part in CODE):
        raise InputError(field, f'"{folder}" holds the program itself. Choose another output folder.')
    return folder
