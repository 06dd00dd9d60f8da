"""Small versions of pictures, made when they are first asked for and kept in the cache up to a limit."""

import contextlib
import hashlib
import io
import os
import threading
import uuid
from pathlib import Path

from PIL import Image

from modules.core.errors import InputError, ModelFileError, NotFound, short
from modules.images.reading import decoded
from modules.library.header import open_regular

SIDE = 320
"""Pixels of the longer side."""
MOST = 512 * 2**20
AT_ONCE = 3
MAX_FILE = 128 * 2**20


class Thumbnails:
    """Files below `folder`, together at most `most` bytes: of more, the oldest go. May be used from any thread."""

    def __init__(self, folder: Path, *, most: int = MOST) -> None:
        self._folder = folder
        self._most = most
        self._lock = threading.Lock()
        self._turn = threading.BoundedSemaphore(AT_ONCE)
        self._total: int | None = None

    def of(self, path: Path) -> tuple[bytes, str, str]:
        """The picture's small version, its MIME type, and a tag that changes when the file does.

        Raises NotFound for a file that is gone or is no picture.
        """
        try:
            status = path.stat()
        except OSError as error:
            raise NotFound(f"The picture {short(path.name)} is not there any more: it was moved or deleted.") from error
        key = hashlib.sha256(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{SIDE}".encode("utf-8", "surrogatepass"))
        tag = key.hexdigest()[:40]
        file = self._folder / tag[:2] / tag
        with contextlib.suppress(OSError):
            if data := file.read_bytes():
                return data, _mime(data), tag
        with self._turn:
            data = small(path)
        self._keep(file, data)
        return data, _mime(data), tag

    def _keep(self, file: Path, data: bytes) -> None:
        """A cache that cannot be written only costs time."""
        temporary = file.with_name(f"{uuid.uuid4().hex}.tmp")
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(file)
            with self._lock:
                self._total = self._counted() if self._total is None else self._total + len(data)
                if self._total > self._most:
                    self._total = self._pruned()

    def _counted(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _pruned(self) -> int:
        """Delete the oldest until nine tenths are left."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self._most * 0.9:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108
                total -= size
        return total

    def _files(self) -> list[tuple[float, int, str]]:
        found = []
        for folder in os.scandir(self._folder):
            if folder.is_dir():
                for entry in os.scandir(folder.path):
                    status = entry.stat()
                    found.append((status.st_mtime, status.st_size, entry.path))
        return found


def small(path: Path) -> bytes:
    """The picture in that file, made small: a JPEG, or a WEBP where parts of it are transparent. Raises NotFound."""
    try:
        with open_regular(path) as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise NotFound(f"The picture {short(path.name)} is larger than {MAX_FILE // 2**20} MB: it is not shown.")
        image = decoded("picture", data)
        clear = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        image = image.convert("RGBA" if clear else "RGB")
        image.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
        buffer = io.BytesIO()
        image.save(buffer, **({"format": "WEBP", "quality": 85} if clear else {"format": "JPEG", "quality": 85}))
        return buffer.getvalue()
    except (InputError, ModelFileError, OSError, ValueError) as error:
        raise NotFound(f"The picture {short(path.name)} is damaged, or no picture. Replace or remove it.") from error


def _mime(data: bytes) -> str:
    return "image/webp" if data.startswith(b"RIFF") else "image/jpeg"
