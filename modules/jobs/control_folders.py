"""Folders of the server that ControlNet units name: their pictures go into the request before its job is stored."""

from pathlib import Path
from typing import TypeVar

from modules.core.errors import InputError, short
from modules.images.reading import take_picture
from modules.library.extras_files import PICTURES
from modules.requests.control import ControlUnit
from modules.requests.generation import GenerationRequest
from modules.requests.pictures import Picture

MAX_PICTURES, MAX_FILE = 500, 128 * 2**20

Asked = TypeVar("Asked")


def folders_asked(request: object) -> list[str]:
    """The fields of the units that name a folder."""
    units = request.control if isinstance(request, GenerationRequest) else ()
    return [f"control.{number}.batch_images" for number, unit in enumerate(units) if unit.batch_images.strip()]


def with_folders(request: Asked, below: Path) -> Asked:
    """The request with the pictures of its units' folders, and so many batches that each has its turn. Relative ones lie in `below`.

    Raises InputError for a folder that is not there, that holds no picture or too many of them, or one that cannot be read.
    """
    if not isinstance(request, GenerationRequest) or not folders_asked(request):
        return request
    units = tuple(_filled(number, unit, below) for number, unit in enumerate(request.control))
    most = max(len(unit.images) for unit, old in zip(units, request.control, strict=True) if unit is not old)
    batches = max(request.n_iter, -(-most // request.batch_size))
    return request.model_copy(update={"control": units, "n_iter": batches})


def _filled(number: int, unit: ControlUnit, below: Path) -> ControlUnit:
    if not unit.batch_images.strip():
        return unit
    found = tuple(_picture(file, number) for file in _files(unit.batch_images.strip(), number, below))
    return unit.model_copy(update={"images": found, "input_mode": "batch", "batch_images": ""})


def _files(folder: str, number: int, below: Path) -> list[Path]:
    """Its pictures in the order of their names."""
    field, what = f"control.{number}.batch_images", short(folder, 300)
    try:
        path = (below / Path(folder).expanduser()).resolve()
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES and file.name[0] != ".")
    except (OSError, ValueError, RuntimeError) as error:  # not there, a loop of links, a NUL, ~ of nobody
        why = getattr(error, "strerror", None) or error
        raise InputError(field, f"{field} {what} cannot be read: {why}. Name a folder with pictures.") from error
    if not files:
        ends = ", ".join(end[1:] for end in PICTURES)
        raise InputError(field, f"{field} {what} holds no picture ({ends}). Choose another folder.")
    if len(files) > MAX_PICTURES:
        raise InputError(field, f"{field} {what} holds {len(files)} pictures: take at most {MAX_PICTURES}.")
    return files


def _picture(file: Path, number: int) -> Picture:
    field = f"control.{number}.batch_images"
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE + 1)
    except OSError as error:
        raise InputError(field, f'{field}: "{file.name}" cannot be read: {error.strerror}. Leave it out.') from error
    if len(data) > MAX_FILE:
        raise InputError(field, f'{field}: "{file.name}" is larger than {MAX_FILE // 2**20} MB. Leave it out.')
    try:
        return take_picture(field, data)
    except InputError as error:
        raise InputError(field, f'{field}: "{file.name}" is no picture that can be read here. Leave it out.') from error
