"""Pictures to bytes, with the infotext inside, and back."""

import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from modules.core.errors import InputError

KEY = "parameters"
MAX_PIXELS = 64_000_000


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
    """The infotext of a PNG, or None; raises InputError for what is no whole PNG."""
    return read_texts(data).get(KEY)


def read_texts(data: bytes, field: str = "image") -> dict[str, str]:
    """The text chunks of a PNG by name; raises InputError for what is no whole PNG of at most 64 megapixels."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            pixels = image.width * image.height
            if pixels > MAX_PIXELS:
                raise InputError(
                    field,
                    f"{field} is {image.width} x {image.height} = {pixels / 1e6:.0f} megapixels: at most {MAX_PIXELS / 1e6:.0f} are read. Send a smaller one.",
                )
            image.load()  # texts may stand behind the pixels
            return {str(name): text for name, text in image.info.items() if isinstance(text, str)}
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(field, f"{field} is not a whole PNG file. Send the file as it was saved.") from error
