"""The one place that saves pictures: file first, whole or not at all; then the row in the job store."""

import contextlib
from datetime import datetime
from pathlib import Path

from modules.core.errors import InputError, StorageError, short
from modules.core.files import write_atomic
from modules.core.paths import ROOT, Paths
from modules.core.settings import Settings
from modules.images.filenames import apply_pattern, next_number
from modules.jobs.store import Job, JobStore
from modules.requests.events import ImageReady

CODE = ("modules", "webui", "extensions", "tests", "venv", ".git", ".ci")


class Writer:
    """Saves the pictures of jobs into outputs, or into the results cache when they are not to be kept."""

    def __init__(self, paths: Paths, store: JobStore) -> None:
        self._paths = paths
        self._store = store

    def save(self, job: Job, settings: Settings, image: ImageReady) -> str | None:
        """Save one picture. If its folder cannot be written it goes to the results cache, and the reason is returned.

        Raises StorageError when neither place takes it.
        """
        saving = settings.saving
        kept = (
            job.request.save_images and saving.samples_save and (saving.save_incomplete_images or not image.incomplete)
        )
        trouble = None
        if kept:
            try:
                path = self._in_outputs(settings, image)
                self._record(job, image, path, kept=True)
                return None
            except (StorageError, InputError) as error:
                trouble = f"{error.message} The picture is shown here but not saved in outputs: download it."
        path = self._paths.cache / "results" / job.id / f"{image.index:05}.png"
        write_atomic(path, image.data)
        self._record(job, image, path, kept=False)
        return trouble

    def prune(self, before: float) -> None:
        """Delete pictures of the results cache that are older than that time."""
        for path in self._store.forget_unkept(before):
            with contextlib.suppress(OSError):
                path.unlink()
                path.parent.rmdir()

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

    def _in_outputs(self, settings: Settings, image: ImageReady) -> Path:
        now = datetime.now()
        saving = settings.saving
        folder = output_folder(self._paths, saving.outdir_txt2img_samples)
        if saving.save_to_dirs:
            folder = folder / (apply_pattern(saving.directories_filename_pattern, image.fields, now) or ".")
        pattern = saving.samples_filename_pattern or ("[seed]" if saving.save_to_dirs else "[seed]-[prompt_spaces]")
        name = apply_pattern(pattern, image.fields, now)
        try:
            number = next_number(folder)
        except OSError as error:
            raise StorageError(
                f'The folder "{folder}" cannot be read: {error.strerror}. Check its permissions.'
            ) from error
        numbered = saving.save_images_add_number or not name
        path = folder / (f"{number:05}-{name}".rstrip("-") + ".png" if numbered else f"{name}.png")
        while path.exists():
            number += 1
            path = folder / (f"{number:05}-{name}".rstrip("-") + ".png" if numbered else f"{name}-{number}.png")
        write_atomic(path, image.data)
        return path


def output_folder(paths: Paths, setting: str) -> Path:
    """The folder that an `outdir_*` setting names; raises InputError for a place that holds the program."""
    try:
        folder = (paths.outputs / Path(setting).expanduser()).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a NUL, ~ of nobody
        raise InputError(
            "outdir_txt2img_samples", f"outdir_txt2img_samples {short(setting)} is no folder: {error}. Choose another."
        ) from error
    if folder == ROOT or any(folder.is_relative_to(ROOT / part) for part in CODE):
        raise InputError(
            "outdir_txt2img_samples", f'"{folder}" holds the program itself. Choose another output folder.'
        )
    return folder
