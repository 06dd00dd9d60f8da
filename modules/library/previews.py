"""The picture that shows what a model does: a file beside it."""

from pathlib import Path

from modules.core.errors import ModelFileError, NotFound
from modules.library.header import open_regular
from modules.library.rows import Row

MAX_PREVIEW = 32 * 2**20


def read_preview(row: Row) -> tuple[bytes, str]:
    """The picture's bytes and MIME type; raises NotFound if there is none, or if the file is none whatever it is called."""
    if row.preview is None:
        raise NotFound(
            f'"{row.name}" has no preview picture. Put one beside it, called as it and ending with .preview.png.'
        )
    path = Path(row.path).parent / row.preview
    try:
        with open_regular(path) as file:
            data = file.read(MAX_PREVIEW + 1)
    except (ModelFileError, OSError) as error:
        raise NotFound(
            f'The preview "{row.preview}" cannot be read any more. Look whether the file is there.'
        ) from error
    mime = mime_of(data)
    if mime is None or len(data) > MAX_PREVIEW:
        what = "no PNG, JPEG, WEBP or GIF" if mime is None else f"larger than {MAX_PREVIEW // 2**20} MB"
        raise NotFound(f'The preview "{row.preview}" is {what}. Replace it by a picture.')
    return data, mime


def mime_of(data: bytes) -> str | None:
    """The MIME type of a picture, by what its file begins with."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    starts = {
        b"\x89PNG\r\n\x1a\n": "image/png",
        b"\xff\xd8\xff": "image/jpeg",
        b"GIF87a": "image/gif",
        b"GIF89a": "image/gif",
    }
    return next((mime for start, mime in starts.items() if data.startswith(start)), None)
