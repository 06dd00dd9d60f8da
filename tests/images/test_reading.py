"""What comes in as a picture, and what is refused."""

import io

import pytest
from PIL import Image

from modules.core.errors import InputError
from modules.images.reading import open_picture, take_picture


def saved(format: str, mode: str = "RGB", size: tuple[int, int] = (6, 4), **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 1).save(buffer, format=format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"])
def test_common_formats_are_read(format):
    assert open_picture(take_picture("mask", saved(format))).size == (6, 4)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_any_mode_of_a_png(mode):
    assert open_picture(take_picture("mask", saved("PNG", mode))).size == (6, 4)


def test_a_turned_photograph_stands_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_picture(take_picture("image", saved("JPEG", exif=exif))).size == (4, 6)


@pytest.mark.parametrize(
    "data",
    [b"x", b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0", saved("TIFF"), saved("PNG")[:-30], saved("JPEG")[:200], saved("DDS")],
)
def test_what_is_no_whole_picture_is_refused(data):
    with pytest.raises(InputError, match="^init_images is no whole picture"):
        take_picture("init_images", data)


def test_nothing_and_too_much_are_refused_by_name():
    with pytest.raises(InputError, match="mask is empty"):
        take_picture("mask", b"")
    bomb = saved("PNG", "1", (9000, 9000))
    with pytest.raises(InputError, match=r"mask is 9000 x 9000 = 81 megapixels: at most 64"):
        take_picture("mask", bomb)
