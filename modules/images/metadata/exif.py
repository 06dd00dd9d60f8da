"""Texts in EXIF and XMP."""

import html
import struct
from typing import Any

from PIL import Image

_TAGS = {0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software", 0x013B: "Artist"}
_XP_COMMENT = 0x9C9C
_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286
_MAKER_NOTE = 0x927C
_BROKEN = (
    *(OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError, AttributeError),
    *(OverflowError, struct.error, RecursionError),
)
USER_COMMENT = "exif comment"
"""A1111's name for EXIF's UserComment."""


def read_exif(image: Image.Image) -> tuple[dict[str, str], str | None]:
    """The texts of a picture's EXIF by name, and a sentence if it is broken."""
    try:
        exif = image.getexif()
        main, inner = dict(exif), dict(exif.get_ifd(_EXIF_IFD))
    except _BROKEN:
        return {}, "Its EXIF block is broken and was passed over."
    found = {f"exif {name}": plain(main.get(tag)) for tag, name in _TAGS.items()}
    if isinstance(comment := main.get(_XP_COMMENT), (bytes, tuple)):
        found["exif XPComment"] = _utf16(bytes(comment), little=True)
    found[USER_COMMENT] = user_comment(inner.get(_USER_COMMENT))
    found["exif MakerNote"] = plain(inner.get(_MAKER_NOTE))
    return {name: text for name, text in found.items() if text}, None


def exif_comment(text: str) -> bytes:
    """An EXIF block that holds nothing but that text as its UserComment, as A1111 writes it: UTF-16, big end first."""
    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be", "surrogatepass")
    return exif.tobytes()


def user_comment(value: Any) -> str:
    """The text of a UserComment: eight bytes that name its encoding, then the text in it."""
    if not isinstance(value, bytes):
        return plain(value)
    code, rest = value[:8], value[8:]
    if code == b"UNICODE\0":
        return _utf16(rest)
    if code in (b"ASCII\0\0\0", b"\0" * 8):
        return plain(rest)
    if code == b"JIS\0\0\0\0\0":
        return rest.decode("iso2022_jp", "replace").strip("\0 ")
    return plain(value)


def plain(value: Any) -> str:
    """Text, or bytes that are UTF-8 as far as they are; what is neither is ""."""
    if isinstance(value, bytes):
        found = value.decode("utf-8", "replace")
        return "" if found.count("\ufffd") * 4 > len(found) else found.strip("\0 ")
    return value.strip("\0 ") if isinstance(value, str) else ""


def xmp_comment(xmp: str) -> str:
    """The UserComment in an XMP packet, as Draw Things writes it. The packet is searched, not parsed: no entity is resolved."""
    inner = _between(xmp, "<exif:UserComment", "</exif:UserComment>")
    return html.unescape(_between(inner, "<rdf:li", "</rdf:li>") or inner).strip()


def _between(text: str, tag: str, end: str) -> str:
    return text.partition(tag)[2].partition(">")[2].partition(end)[0]


def _utf16(data: bytes, *, little: bool = False) -> str:
    """UTF-16 of either byte order: without a mark at its start, the one in which most letters are below 256 (A1111: big)."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        little, data = data[0] == 0xFF, data[2:]
    elif data[0::2].count(0) != data[1::2].count(0):
        little = data[1::2].count(0) > data[0::2].count(0)
    return data.decode("utf-16-le" if little else "utf-16-be", "ignore").strip("\0 ")
