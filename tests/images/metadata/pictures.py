"""Small picture files with texts in all the places where programs put them."""

import gzip
import io
import json
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin


def png(**texts: Any) -> bytes:
    """A PNG with text chunks; what is no text is written as JSON. A name's __ stands for -."""
    info = PngImagePlugin.PngInfo()
    for name, value in texts.items():
        text = value if isinstance(value, str) else json.dumps(value)
        info.add_itxt(name.replace("__", "-"), text)
    return saved(Image.new("RGB", (32, 32)), "PNG", pnginfo=info)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """That picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def exif(kind: str, **tags: Any) -> bytes:
    """A picture of that kind whose EXIF holds those tags, by number: t270="..." ; UserComment and MakerNote in their own block."""
    block = Image.Exif()
    inner = {0x9286, 0x927C}
    for name, value in tags.items():
        tag = int(name[1:])
        if tag in inner:
            block.get_ifd(0x8769)[tag] = value
        else:
            block[tag] = value
    return saved(Image.new("RGB", (32, 32)), kind, exif=block.tobytes())


def stealth(text: str, letters: str, *, side: int = 64, kind: str = "PNG", length: int | None = None) -> bytes:
    """A picture with a text in its lowest bits, written pixel by pixel as the format says."""
    data = gzip.compress(text.encode()) if letters.endswith("comp") else text.encode()
    size = len(data) * 8 if length is None else length
    bits = np.unpackbits(np.frombuffer(letters.encode() + size.to_bytes(4, "big") + data, np.uint8))
    values = np.full((side, side, 4), 254, np.uint8)
    channels = (3,) if "png" in letters else (0, 1, 2)
    places = ((x, y, c) for x in range(side) for y in range(side) for c in channels)
    for (x, y, c), bit in zip(places, bits, strict=False):
        values[y, x, c] |= bit
    image = Image.fromarray(values)
    return saved(image if channels == (3,) else image.convert("RGB"), kind, lossless=True)
