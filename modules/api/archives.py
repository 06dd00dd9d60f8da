"""ZIP files as answers: packed into a temporary file, which is gone when they are sent, or when packing fails."""

import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO

from starlette.responses import StreamingResponse

PIECE = 2**18  # bytes


def zip_answer(files: Iterable[tuple[str, bytes]], disposition: str) -> StreamingResponse:
    """Those (name, data) as one download. `disposition`: its Content-Disposition. What `files` raises is raised before the answer begins."""
    headers = {"Content-Disposition": disposition, "Cache-Control": "no-store"}
    return StreamingResponse(pieces(packed(files)), media_type="application/zip", headers=headers)


def packed(files: Iterable[tuple[str, bytes]]) -> IO[bytes]:
    """A ZIP file of them, not compressed, at its beginning; its reader closes it. What `files` raises leaves no file behind."""
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # its reader closes it
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, data in files:
                archive.writestr(name, data)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """A file piece by piece; closed at the end."""
    with file:
        while piece := file.read(PIECE):
            yield piece
