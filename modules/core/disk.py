"""Room that stays free on the disk of the data folder."""

import contextlib
import shutil
import uuid
from pathlib import Path

from modules.core.errors import StorageError
from modules.core.files import is_full


def check_reserve(folder: Path, needed: int, reserve: int) -> None:
    """Raise StorageError if `needed` more bytes would leave less than `reserve` bytes free on the disk that holds `folder`."""
    try:
        free = shutil.disk_usage(_existing(folder)).free
    except OSError:  # whoever writes there says what is wrong
        return
    if free < needed + reserve:
        raise StorageError(
            f"The server's disk has {free / 1e9:.1f} GB free, and {reserve / 1e9:.1f} GB stay free: nothing new is taken for now. "
            "Free some space and send it again, or start with a smaller --disk-reserve."
        )


def has_room(folder: Path, needed: int) -> bool:
    """Whether so many bytes fit there, found out by writing them where the disk says so: what a user may have of it is not told otherwise.
    Also True where something else than want of room stands against it."""
    place = _existing(folder)
    probe = place / f".atelier-{uuid.uuid4().hex}.tmp"
    try:
        if shutil.disk_usage(place).free < needed:
            return False
        probe.write_bytes(bytes(needed))
    except OSError as error:
        return not is_full(error)
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return True


def _existing(folder: Path) -> Path:
    """It, or the nearest folder above it that is there."""
    return next((place for place in (folder, *folder.parents) if place.is_dir()), folder)
