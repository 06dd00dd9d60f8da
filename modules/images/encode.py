"""Pictures to bytes, with the infotext inside, and back."""

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from modules.images.metadata.carriers import INFOTEXT, read_carried
from modules.images.metadata.exif import USER_COMMENT, exif_comment

_KINDS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP", "avif": "AVIF", "gif": "GIF", "bmp": "BMP"}
_LONGEST_SIDE = {"JPEG": 65_535, "WEBP": 16_383, "AVIF": 65_536, "GIF": 65_535, "BMP": 65_535}
_MOST_EXIF = 65_000  # bytes that a JPEG has place for


def encode_image(
    image: Image.Image, infotext: str | None, options: Mapping[str, Any], texts: Mapping[str, str] | None = None
) -> bytes:
    """A picture in the format that the option `samples_format` names, with the infotext where A1111 has it in that format; a PNG
    has `texts` in its place, if they are given.

    What a format has no place for, sides that are too long or a text, makes it a PNG, as in A1111: the bytes tell which.
    """
    kind = _KINDS.get(str(options.get("samples_format", "png")).lower(), "PNG")
    exif = exif_comment(infotext) if infotext is not None and kind in ("JPEG", "WEBP", "AVIF") else b""
    if kind == "PNG" or max(image.size) > _LONGEST_SIDE[kind] or (kind == "JPEG" and len(exif) > _MOST_EXIF):
        return encode_png(image, infotext, texts)
    given: dict[str, Any] = {"exif": exif} if exif else {}
    if kind in ("JPEG", "AVIF"):
        given["quality"] = options.get("jpeg_quality", 80)
    elif kind == "WEBP":
        given |= {"quality": options.get("jpeg_quality", 80), "lossless": options.get("webp_lossless", False)}
    elif infotext is not None and kind == "GIF":
        given["comment"] = infotext.encode("utf-8", "replace")
    buffer = io.BytesIO()
    (image.convert("RGB") if kind == "JPEG" else image).save(buffer, format=kind, **given)
    return buffer.getvalue()


def grid_format(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the format of grids as that of pictures."""
    return {**options, "samples_format": options["grid_format"]}


def ending_of(data: bytes, wanted: str = "") -> str:
    """The ending of a file name for a picture file's bytes: "jpeg" instead of "jpg" where that is `wanted`."""
    signs = (
        (b"\xff\xd8", 0, "jpg"),
        (b"WEBP", 8, "webp"),
        (b"ftypavif", 4, "avif"),
        (b"GIF8", 0, "gif"),
        (b"BM", 0, "bmp"),
    )
    found = next((ending for sign, at, ending in signs if data[at : at + len(sign)] == sign), "png")
    return f".{wanted if found == 'jpg' and wanted == 'jpeg' else found}"


def encode_png(image: Image.Image, infotext: str | None, texts: Mapping[str, str] | None = None) -> bytes:
    """A PNG with A1111's text chunk `parameters`, or with these chunks in its place."""
    info = PngInfo()
    for name, text in (({} if infotext is None else {INFOTEXT: infotext}) if texts is None else texts).items():
        info.add_text(name, text)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def encode_jpeg(image: Image.Image, quality: int = 80) -> bytes:
    """A small JPEG for live previews."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def read_infotext(data: bytes) -> str | None:
    """The infotext of a picture file, or None; raises InputError for what is no whole picture."""
    texts = read_carried(data).texts
    return next((texts[place] for place in (INFOTEXT, USER_COMMENT, "comment") if place in texts), None)
