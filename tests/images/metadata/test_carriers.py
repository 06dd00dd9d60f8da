"""Texts are found wherever a file carries them, and broken or hostile files are refused in a sentence or passed over."""

import io
import random
import zlib

import pytest
from PIL import Image, PngImagePlugin

from modules.core.errors import InputError
from modules.images.metadata.carriers import read_carried
from modules.images.metadata.exif import user_comment, xmp_comment
from modules.images.metadata.read import read_metadata
from modules.images.reading import FORMATS
from tests.images.metadata.pictures import exif, png, saved, stealth

INFOTEXT = "a fox, 漢字 😀\nNegative prompt: blue\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x768, Version: v1.10.1"
UNICODE = b"UNICODE\0" + INFOTEXT.encode("utf-16-be")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "PNG"])
@pytest.mark.parametrize(
    "comment",
    [
        UNICODE,
        b"UNICODE\0" + INFOTEXT.encode("utf-16-le"),
        b"UNICODE\0\xff\xfe" + INFOTEXT.encode("utf-16-le"),
        b"ASCII\0\0\0" + INFOTEXT.encode(),
        b"\0" * 8 + INFOTEXT.encode(),
        INFOTEXT.encode(),
    ],
    ids=["big", "little", "marked", "ascii", "none", "bare"],
)
def test_exif_user_comment(kind, comment):
    found = read_metadata(exif(kind, t37510=comment))
    assert (found.format, found.infotext, found.program) == (kind, INFOTEXT, "AUTOMATIC1111")
    assert found.chunks["exif comment"] == INFOTEXT


def test_png_chunks_of_all_kinds():
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", INFOTEXT.replace("漢字 😀", "é"))
    info.add_text("packed", "x" * 1000, zip=True)
    info.add_itxt("international", "漢字")
    found = read_carried(saved(Image.new("RGB", (8, 8)), "PNG", pnginfo=info))
    assert found.texts == {
        "parameters": INFOTEXT.replace("漢字 😀", "é"),
        "packed": "x" * 1000,
        "international": "漢字",
    }


def test_comments_of_jpeg_and_gif():
    image = Image.new("RGB", (8, 8))
    for data in (saved(image, "JPEG", comment=INFOTEXT.encode()), saved(image, "GIF", comment=INFOTEXT.encode())):
        assert read_metadata(data).infotext == INFOTEXT
    assert read_metadata(saved(image, "JPEG", comment=b"made by a camera")).infotext == ""
    assert read_metadata(saved(image, "BMP")).chunks == {}


@pytest.mark.parametrize("letters", ["stealth_pnginfo", "stealth_pngcomp", "stealth_rgbinfo", "stealth_rgbcomp"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_stealth(letters, kind):
    if letters == "stealth_rgbinfo":
        assert read_metadata(stealth(INFOTEXT, letters, side=40, kind=kind)).infotext == INFOTEXT
    found = read_metadata(stealth(INFOTEXT, letters, kind=kind))
    assert (found.infotext, found.notes) == (INFOTEXT, ())


def test_stealth_of_novelai():
    text = '{"Software": "NovelAI", "Description": "a fox", "Comment": "{\\"steps\\": 3, \\"uc\\": \\"\\"}"}'
    found = read_metadata(stealth(text, "stealth_pngcomp"))
    assert (found.program, found.infotext.split("\n")[0]) == ("NovelAI", "a fox")


@pytest.mark.parametrize("length", [2**32 - 1, 2**31, 64 * 64, 3])
def test_stealth_that_is_broken(length):
    found = read_metadata(stealth("some words", "stealth_pngcomp", length=length))
    assert found.infotext == ""
    assert found.notes == ("The text hidden in its alpha channel is broken and was passed over.",)


def test_stealth_bomb():
    found = read_metadata(stealth("a" * 20 * 2**20, "stealth_pngcomp", side=512))
    assert (found.infotext, len(found.notes)) == ("", 1)


def test_xmp():
    packet = '<x:xmpmeta><rdf:RDF><exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">{&quot;c&quot;: 1}</rdf:li></rdf:Alt></exif:UserComment></rdf:RDF></x:xmpmeta>'
    assert xmp_comment(packet) == '{"c": 1}'
    found = read_carried(saved(Image.new("RGB", (8, 8)), "JPEG", xmp=packet.encode()))
    assert (found.texts["xmp"], found.texts["xmp comment"]) == (packet, '{"c": 1}')
    assert xmp_comment("<exif:UserComment" * 1000 + "<rdf:li>") == ""


def test_user_comments_that_are_none():
    for value in (None, 7, b"", b"UNICODE\0", b"UNICODE\0\xd8", (1, 2), b"\xff\xfe\xfd\x00\x80"):
        assert isinstance(user_comment(value), str)
    assert user_comment(b"JIS\0\0\0\0\0" + "漢字".encode("iso2022_jp")) == "漢字"


def test_formats_are_those_of_the_list():
    image = Image.new("RGB", (8, 8))
    for kind in FORMATS:
        assert read_carried(saved(image, kind)).format == kind
    for kind in ("TIFF", "ICO", "PPM", "TGA", "EPS", "PDF", "JPEG2000", "DDS", "PCX"):
        with pytest.raises(InputError, match="no whole picture that can be read"):
            read_carried(saved(image, kind), "init")


def large(kind: str, side: int) -> bytes:
    """A file whose header alone says that it is that large."""
    data = bytearray(saved(Image.new("1" if kind == "PNG" else "L", (8, 8)), kind))
    if kind == "PNG":
        data[16:24] = side.to_bytes(4, "big") * 2
        data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    elif kind == "BMP":
        data[18:26] = side.to_bytes(4, "little") * 2
    elif kind == "GIF":
        data[6:10] = side.to_bytes(2, "little") * 2
    return bytes(data)


@pytest.mark.parametrize(
    ("kind", "side"), [("PNG", 60_000), ("PNG", 8100), ("BMP", 60_000), ("GIF", 30_000), ("GIF", 9000)]
)
def test_bombs_are_refused_by_their_header(kind, side):
    with pytest.raises(InputError, match="megapixels") as caught:
        read_carried(large(kind, side), "image")
    assert len(caught.value.message) < 200


def test_text_bombs():
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a" * 80_000_000, zip=True)
    with pytest.raises(InputError):
        read_carried(saved(Image.new("1", (8, 8)), "PNG", pnginfo=info))


def test_animations_give_their_first_picture():
    frames = [Image.new("L", (8, 8), value) for value in range(20)]
    for kind in ("GIF", "PNG", "WEBP"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert read_carried(data).width == 8


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # what PIL says of broken files
def test_files_with_bytes_changed_are_read_or_refused():
    source = random.Random(4)
    whole = [
        exif("JPEG", t37510=UNICODE),
        exif("WEBP", t37510=UNICODE, t271="x"),
        exif("PNG", t37510=UNICODE),
        png(parameters=INFOTEXT),
        saved(Image.new("P", (8, 8)), "GIF", comment=b"hello"),
        stealth("hello", "stealth_pngcomp", side=24),
    ]
    refused = 0
    for number in range(600):
        data = bytearray(whole[number % len(whole)])
        for _ in range(source.randrange(1, 8)):
            data[source.randrange(len(data))] = source.randrange(256)
        data = data[: source.randrange(len(data))] if number % 5 == 0 else data
        try:
            read_metadata(bytes(data))
        except InputError:
            refused += 1
    assert 0 < refused < 600


def test_what_is_no_picture():
    for data in (b"", b"\0" * 100, b"<svg/>", io.BytesIO(b"PK\x03\x04" * 50).getvalue(), b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        with pytest.raises(InputError, match="no whole picture|is empty"):
            read_carried(data)
