"""Pictures that come in: found good once, then opened as often as need be."""

import io
import struct
import warnings

from PIL import Image, ImageOps

from modules.core.errors import InputError
from modules.requests.pictures import Picture

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF")
MAX_PIXELS = 64_000_000


def take_picture(field: str, data: bytes) -> Picture:
    """The file as a Picture; raises InputError unless it is a whole picture of at most 64 megapixels in one of the formats."""
    decoded(field, data)
    return Picture.of(data)


def open_picture(picture: Picture, field: str = "image") -> Image.Image:
    """Its first frame, upright, in the mode it was saved in."""
    return decoded(field, picture.data)


def decoded(field: str, data: bytes) -> Image.Image:
    """The first frame of a picture file, upright. Raises InputError as `loaded` does."""
    image = loaded(field, data)
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):  # broken EXIF: it stays as it lies
        return image


def loaded(field: str, data: bytes) -> Image.Image:
    """A picture file, its first frame decoded, with all that it carries. The size is looked at before anything is decoded.

    Raises InputError.
    """
    if not data:
        raise InputError(field, f"{field} is empty. Send a picture file.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            raise InputError(
                field,
                f"{field} is {image.width} x {image.height} = {pixels / 1e6:.0f} megapixels: at most "
                f"{MAX_PIXELS / 1e6:.0f} are read. Send a smaller one.",
            )
        image.load()
        return image
    except Image.DecompressionBombError as error:
        raise InputError(
            field,
            f"{field} has far more than {MAX_PIXELS / 1e6:.0f} megapixels, the most that are read. Send a smaller one.",
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise InputError(
            field, f"{field} is no whole picture that can be read here. Send a PNG, JPEG, WEBP, GIF, BMP or AVIF file."
        ) from error
