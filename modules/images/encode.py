"""Pictures to bytes, with the infotext inside, and back."""

import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo

KEY = "parameters"


def encode_png(image: Image.Image, infotext: str | None) -> bytes:
    """A PNG with A1111's text chunk `parameters`."""
    info = PngInfo()
    if infotext is not None:
        info.add_text(KEY, infotext)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def encode_jpeg(image: Image.Image, quality: int = 80) -> bytes:
    """A small JPEG for live previews."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def read_infotext(data: bytes) -> str | None:
    """The infotext of a PNG, or None."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        image.load()
        found = image.info.get(KEY)
    return found if isinstance(found, str) else None
