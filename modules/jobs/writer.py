"""The one place that saves pictures: file first, whole or not at all; then the row in the job store."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from modules.core.errors import AtelierError, InputError, StorageError, short
from modules.core.faults import fault
from modules.core.files import storage_sentence, write_atomic, write_new
from modules.core.paths import ROOT, Paths
from modules.core.settings import Settings, SettingsFile
from modules.images.encode import ending_of
from modules.images.filenames import apply_pattern, next_number, sanitize
from modules.images.large import jpeg_of_large
from modules.jobs.full import FullDisks
from modules.jobs.store import Job, JobStore
from modules.library.album.album import Album
from modules.requests.control import NO_MODULE
from modules.requests.events import FIRST_WORK, CopyReady, ImageReady, MapReady
from modules.requests.extras import ExtrasRequest
from modules.requests.img2img import Img2ImgRequest
from modules.requests.pictures import pictures_of

EVERYWHERE = ("outdir_samples", "outdir_grids")
"""Those that may be empty: then each kind of picture has its own."""

OUTPUTS = (
    *EVERYWHERE,
    *("outdir_txt2img_samples", "outdir_img2img_samples", "outdir_extras_samples"),
    *("outdir_txt2img_grids", "outdir_img2img_grids", "outdir_save"),
)
"""The settings that name folders for pictures."""

CLOCK = 5.0
"""Seconds by which the time of a disk elsewhere may differ from ours."""

SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/sbin", "/sys", "/usr", "C:/Windows")
SECRET = {".ssh", ".gnupg", ".aws", ".config", ".kube", ".git"}
"""No pictures go into these places, nor into any folder that is called so."""

CODE = ("modules", "webui", "extensions", "tests", "venv", ".git", ".ci")


class Writer:
    """Saves the pictures of jobs into outputs, or into the results cache when they are not to be kept. `full` is told of disks that are."""

    def __init__(self, paths: Paths, store: JobStore, album: Album, full: FullDisks) -> None:
        self._paths = paths
        self._store = store
        self._album = album
        self._full = full

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
                return self._beside(path, settings, image)
            except (StorageError, InputError) as error:
                self._full.note(job.user, error)
                trouble = f"{error.message} The picture is shown here but not saved in outputs: download it."
        number = f"{image.grid}{image.index}" if image.grid else f"{image.index:05}"
        path = self._paths.cache / "results" / job.id / f"{number}{ending_of(image.data)}"
        try:
            write_atomic(path, image.data, point="image")
        except StorageError as error:
            self._full.note(job.user, error)
            raise
        self._record(job, image, path, kept=False)
        return trouble

    def save_copy(self, job: Job, settings: Settings, copy: CopyReady) -> str | None:
        """Save what a picture was before, if the job's pictures are saved at all; the reason why that could not be done."""
        if not (job.request.save_images and settings.saving.samples_save):
            return None
        try:
            if copy.init:
                self._init(settings, copy)
            else:
                return self._beside(self._in_outputs(job, settings, copy, copy.suffix), settings, copy)
        except (StorageError, InputError) as error:
            return f"{error.message} The copy {copy.init or copy.suffix} is not saved."
        return None

    def _init(self, settings: Settings, copy: CopyReady) -> None:
        """What a picture was drawn on from, once: its name says what is in it."""
        field = "outdir_init_images"
        folder = output_folder(self._paths, settings.saving.outdir_init_images, field)
        path = folder / f"{sanitize(copy.init)}{ending_of(copy.data)}"
        if not path.exists():
            write_atomic(path, copy.data)

    def _beside(self, path: Path, settings: Settings, image: ImageReady | CopyReady) -> str | None:
        """Save what the settings want beside a saved picture: its infotext, unless a caption is there, and a smaller copy of a large one;
        the reason why that could not be done."""
        captioned = isinstance(image, ImageReady) and image.caption is not None
        try:
            if settings.infotext.save_txt and image.infotext and not captioned:
                write_atomic(path.with_suffix(".txt"), f"{image.infotext}\n".encode(errors="replace"))
            if settings.saving.export_for_4chan and path.suffix not in (".jpg", ".jpeg"):
                copy = jpeg_of_large(image.data, image.infotext, settings.flat())
                if copy is not None:
                    write_new(path.with_suffix(".jpg"), copy)
        except (StorageError, InputError) as error:
            return f'{error.message} "{path.name}" is saved; what the settings want beside it is not.'
        return None

    def save_map(self, job: Job, settings: Settings, shown: MapReady, position: int) -> str | None:
        """Keep what a unit went by, among the results under that number; a copy goes into outputs if the settings and the request want that,
        or the reason why not is returned. Raises StorageError."""
        path = self._paths.cache / "results" / job.id / f"map{position}.png"
        write_atomic(path, shown.data)
        self._store.add_image(
            job=job.id, position=position, path=path, infotext="", seed=job.seed, kept=False, incomplete=False
        )
        wanted = settings.controlnet.control_net_detectmap_autosaving and job.request.save_images
        if not wanted or shown.module == NO_MODULE:
            return None
        name, trouble = sanitize(shown.module), ""
        try:
            folder = self._maps_folder(job, settings) / name
            write_atomic(folder / f"{next_number(folder):05}-{name}.png", shown.data)
        except (StorageError, InputError) as error:
            trouble = error.message
        except OSError as error:  # a folder that may not be looked into
            trouble = storage_sentence(error, self._paths.outputs)
        return f"{trouble} The control map is shown here but not saved in outputs: download it." if trouble else None

    def _maps_folder(self, job: Job, settings: Settings) -> Path:
        """Where control maps are saved: below the pictures' folder, or where the setting says."""
        field = "control_net_detectedmap_dir"
        pictures = output_folder(self._paths, *folder_asked(job.request, settings.flat()))
        return output_folder(self._paths, str(pictures / settings.controlnet.control_net_detectedmap_dir), field)

    def drop_work(self, job_id: str) -> None:
        """Delete what the job's script worked on with; what cannot be deleted now goes with the other results some day."""
        with contextlib.suppress(StorageError):
            delete_files(self._store.forget_from(job_id, FIRST_WORK))

    def _record(self, job: Job, image: ImageReady, path: Path, *, kept: bool) -> None:
        fault("image.record")
        self._store.add_image(
            job=job.id,
            position=image.index,
            path=path,
            infotext=image.infotext,
            seed=image.seed,
            kept=kept,
            incomplete=image.incomplete,
        )
        fault("image.recorded")
        if kept:
            parents = [picture.sha256 for picture in pictures_of(job.request)]
            self._album.add(path, image.data, image.infotext, parents, job.user)

    def _in_outputs(self, job: Job, settings: Settings, image: ImageReady | CopyReady, suffix: str = "") -> Path:
        now = datetime.now()
        saving, plain = settings.saving, isinstance(job.request, ExtrasRequest)
        words, upscaler = saving.directories_max_prompt_words, ""
        folder = output_folder(self._paths, *folder_asked(job.request, settings.flat()))
        if (
            isinstance(image, ImageReady) and plain
        ):  # A1111 saves what comes from Extras without sub-folders, under its number or its old name
            name = sanitize(image.name) if settings.postprocessing.use_original_name_batch else ""
            if settings.postprocessing.use_upscaler_name_as_suffix:
                upscaler = sanitize(str(image.fields.get("upscaler", "")))
        else:
            if saving.save_to_dirs:
                folder = folder / (apply_pattern(saving.directories_filename_pattern, image.fields, now, words) or ".")
            pattern = saving.samples_filename_pattern or ("[seed]" if saving.save_to_dirs else "[seed]-[prompt_spaces]")
            name = apply_pattern(pattern, image.fields, now, words) + suffix
        try:
            number = next_number(folder)
        except OSError as error:
            raise StorageError(
                f'The folder "{folder}" cannot be read: {error.strerror}. Check its permissions.'
            ) from error
        ending = ending_of(image.data, saving.samples_format)
        path = self._orphan(job, folder, image.data, ending)
        numbered = not name or (saving.save_images_add_number and not plain)
        name = "-".join(filter(None, (name, upscaler)))
        again = 0
        while path is None:
            front, more = (f"{number + again:05}-{name}".rstrip("-"), "") if numbered else (name, f"-{number + again}")
            tried = folder / f"{front}{more if again else ''}{ending}"
            if not tried.exists() and write_new(tried, image.data, point="image"):
                path = tried
            again += 1
        if isinstance(image, ImageReady) and image.caption is not None:
            write_atomic(path.with_suffix(".txt"), image.caption.encode())
        return path

    def _grid_in_outputs(self, job: Job, settings: Settings, image: ImageReady) -> Path:
        """Grids are counted by the word that begins their names: grid-0000, grid-0001 ..."""
        now, grids = datetime.now(), settings.grids
        option = "outdir_img2img_grids" if isinstance(job.request, Img2ImgRequest) else "outdir_txt2img_grids"
        option = "outdir_grids" if grids.outdir_grids else option
        folder = output_folder(self._paths, getattr(grids, option), option)
        if grids.grid_save_to_dirs:
            pattern, words = settings.saving.directories_filename_pattern, settings.saving.directories_max_prompt_words
            folder = folder / (apply_pattern(pattern, image.fields, now, words) or ".")
        more = f"-{apply_pattern('[seed]-[prompt_spaces]', image.fields, now)}" if grids.grid_extended_filename else ""
        try:
            taken = {path.name[: len(image.grid) + 5] for path in folder.iterdir()} if folder.is_dir() else set()
        except OSError as error:
            raise StorageError(
                f'The folder "{folder}" cannot be read: {error.strerror}. Check its permissions.'
            ) from error
        ending = ending_of(image.data, grids.grid_format)
        for number in itertools.count():
            path = folder / f"{image.grid}-{number:04}{more}{ending}"
            if f"{image.grid}-{number:04}" not in taken and write_new(path, image.data, point="image"):
                return path
        raise AssertionError("numbers do not end")

    def _orphan(self, job: Job, folder: Path, data: bytes, ending: str) -> Path | None:
        """The file of this very picture that an earlier try has saved, when the program was killed before it could be recorded."""
        if job.started is None or not folder.is_dir():
            return None
        with contextlib.suppress(OSError):
            for path in folder.glob(f"*{ending}"):
                status = path.stat()
                fresh = status.st_size == len(data) and status.st_mtime >= job.submitted - CLOCK
                if fresh and not self._store.has_file(path) and path.read_bytes() == data:
                    return path
        return None


def picture_folders(paths: Paths, settings: Settings) -> list[Path]:
    """Every folder whose pictures the gallery shows: where pictures are saved to, and those that `gallery_folders` names."""
    flat = settings.flat()
    found = [paths.outputs / "outputs"]
    for option in filter(flat.get, OUTPUTS):
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


def delete_files(paths: Iterable[Path]) -> None:
    """Files, and their folders once they are empty."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()


def folder_asked(request: Any, options: Mapping[str, Any]) -> tuple[str, str]:
    """Where the pictures of that request go, as its own folder or the setting says it, and the name of that field."""
    if isinstance(request, ExtrasRequest) and request.output_dir.strip():
        return request.output_dir.strip(), "output_dir"
    if everywhere := options.get("outdir_samples"):
        return str(everywhere), "outdir_samples"
    if isinstance(request, ExtrasRequest):
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
    if folder == ROOT or any(folder.is_relative_to((ROOT / part).resolve()) for part in CODE):  # they may be links
        raise InputError(field, f'"{folder}" holds the program itself. Choose another output folder.')
    if any(folder.is_relative_to(Path(place).resolve()) for place in SYSTEM) or not SECRET.isdisjoint(folder.parts):
        raise InputError(field, f'"{folder}" belongs to the system or holds secrets. Choose another output folder.')
    if folder.is_file():
        raise InputError(field, f'"{folder}" is a file. Choose a folder.')
    return folder
