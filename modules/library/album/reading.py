"""What one picture file tells, read without decoding its pixels where that can be."""

import io
import re
import struct
import warnings
from pathlib import Path

from PIL import Image

from modules.core.errors import InputError, ModelFileError
from modules.images.infotext import parse_infotext
from modules.images.metadata.carriers import INFOTEXT
from modules.images.metadata.exif import USER_COMMENT, plain, read_exif
from modules.images.metadata.read import read_metadata
from modules.images.reading import FORMATS
from modules.library.album.schema import Told
from modules.library.header import open_regular

MAX_FILE = 128 * 2**20
_LORA = re.compile(r"<(?:lora|lyco):([^:<>]{1,200})")


def read_told(path: Path) -> Told:
    """Everything; a file that is no picture tells a sentence about it. Never raises."""
    try:
        with open_regular(path) as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            return Told(trouble=f"It is larger than {MAX_FILE // 2**20} MB and is not read.")
    except (OSError, ModelFileError):
        return Told(trouble="It cannot be read. Look whether this user may read the file.")
    try:
        return told_of(data)
    except Image.DecompressionBombError:
        return Told(trouble="It has too many pixels to be read.")
    except (InputError, OSError, ValueError, SyntaxError, struct.error, MemoryError):
        return Told(trouble="It is damaged, or no picture.")


def told_of(data: bytes, infotext: str | None = None) -> Told:
    """Of the file's bytes; `infotext`, if it is known already. Raises what PIL raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        program = ""
        if infotext is None:
            infotext, program = _infotext(image, data)
    parsed = parse_infotext(infotext)
    fields = parsed.fields
    loras = dict.fromkeys(_LORA.findall(f"{parsed.prompt}\n{parsed.negative_prompt}"))
    return Told(
        width=image.width,
        height=image.height,
        seed=fields.get("Seed", "")[:30],
        program=program or fields.get("Version", "")[:100],
        model=fields.get("Model", "")[:300],
        infotext=infotext[:100_000],
        prompt=parsed.prompt[:20_000],
        negative=parsed.negative_prompt[:20_000],
        loras=" , ".join(loras)[:5000],
        sampler=f"{fields.get('Sampler', '')} {fields.get('Schedule type', '')}"[:200],
    )


def _infotext(image: Image.Image, data: bytes) -> tuple[str, str]:
    """The infotext and the program that wrote it: A1111's where it stands, else what any other program said, in A1111's names."""
    text = image.info.get(INFOTEXT)
    if isinstance(text, str):
        return text, ""
    if image.format in ("JPEG", "WEBP", "AVIF"):
        text = read_exif(image)[0].get(USER_COMMENT, "")
        if text and not text.lstrip().startswith("{"):
            return text, ""
    others = [
        name
        for name, value in image.info.items()
        if isinstance(value, str) and name not in ("icc_profile", "jfif_unit")
    ]
    if not others and not plain(image.info.get("comment")) and not image.info.get("exif"):
        return "", ""  # texts hidden in pixels are looked for on the tab PNG Info alone
    found = read_metadata(data)
    return found.infotext, found.program
