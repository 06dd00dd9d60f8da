"""Where texts stand in picture files: PNG chunks, EXIF, XMP, comments, lowest bits."""

import json
from collections.abc import Iterable

from modules.images.metadata.exif import plain, read_exif, xmp_comment
from modules.images.metadata.loose import parse_object, words
from modules.images.metadata.reading import Carried
from modules.images.metadata.stealth import read_stealth
from modules.images.reading import loaded

INFOTEXT = "parameters"
"""A1111's name for its text."""

_COMMENTS = ("comment",)  # of JPEG and GIF
_XMP = ("xmp", "XML:com.adobe.xmp")
_NO_TEXTS = ("exif", "icc_profile", "photoshop", *_COMMENTS, *_XMP)


def read_carried(data: bytes, field: str = "image") -> Carried:
    """All texts of a picture file; raises InputError as `loaded` does, for nothing else."""
    with loaded(field, data) as image:
        texts = {
            str(name): text for name, text in image.info.items() if isinstance(text, str) and name not in _NO_TEXTS
        }
        texts |= {name: text for name in _COMMENTS if (text := plain(image.info.get(name)))}
        exif, broken = read_exif(image)
        texts |= exif
        if xmp := next((text for name in _XMP if (text := plain(image.info.get(name)))), ""):
            texts["xmp"] = xmp
            texts |= {"xmp comment": comment} if (comment := xmp_comment(xmp)) else {}
        hidden, torn = (None, None) if image.format not in ("PNG", "WEBP") else read_stealth(image)
        for name, text in _uncovered(hidden):
            texts.setdefault(name, text)
        return Carried(
            format=image.format or "",
            width=image.width,
            height=image.height,
            texts={words(name): words(text) for name, text in texts.items()},
            notes=tuple(note for note in (broken, torn) if note),
        )


def _uncovered(hidden: str | None) -> Iterable[tuple[str, str]]:
    """A hidden text: an infotext, or, as NovelAI hides it, an object of texts by name."""
    if hidden is None:
        return []
    found = parse_object(hidden)
    if found is None:
        return [(INFOTEXT, hidden)]
    return [(name, text if isinstance(text, str) else json.dumps(text)) for name, text in found.items()]
