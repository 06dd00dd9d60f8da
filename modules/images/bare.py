"""Picture files without what they tell of how they were made; every pixel stays as it was."""

import io
import struct

from PIL import Image

from modules.core.errors import InputError
from modules.images.encode import encode_png
from modules.images.reading import decoded

_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME")
_SIGN = b"\x89PNG\r\n\x1a\n"


def without_texts(data: bytes) -> bytes:
    """The same picture without texts, EXIF and XMP: PNG, JPEG and WEBP as they are coded, others as a PNG. What is hidden in pixels stays.

    Raises InputError for what is no whole picture.
    """
    try:
        if data.startswith(_SIGN):
            return _png(data)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        image = decoded("image", data)
        bare = Image.frombytes(image.mode, image.size, image.tobytes())
        if image.mode == "P" and (palette := image.getpalette()):
            bare.putpalette(palette)
        return encode_png(bare, None)
    except (struct.error, IndexError, ValueError) as error:
        raise InputError("image", "image is damaged: its texts cannot be taken out.") from error


def _png(data: bytes) -> bytes:
    out, at = io.BytesIO(), len(_SIGN)
    out.write(_SIGN)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] not in _TEXTS:
            out.write(data[at : at + 12 + length])
        at += 12 + length
    return out.getvalue()


def _jpeg(data: bytes) -> bytes:
    """Segments up to the scan: application data but JFIF, colour profile and Adobe's, and comments, are left out."""
    out, at = io.BytesIO(), 2
    out.write(data[:2])
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        if data[at + 1] not in (0xE1, 0xED, 0xFE):
            out.write(data[at : at + 2 + length])
        at += 2 + length
    out.write(data[at:])
    return out.getvalue()


def _webp(data: bytes) -> bytes:
    out, at = io.BytesIO(), 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + (length & 1)
        chunk = bytearray(data[at:end])
        if name == b"VP8X":
            chunk[8] &= ~0x0C  # flags of EXIF and XMP
        if name not in (b"EXIF", b"XMP "):
            out.write(chunk)
        at = end
    body = out.getvalue()
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
