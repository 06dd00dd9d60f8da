"""Texts in PNG files, file-name patterns, the writer's names."""

import io
import random
import struct
import zlib
from datetime import datetime

import pytest
from PIL import Image, PngImagePlugin

from modules.core.errors import InputError
from modules.core.paths import ROOT, Paths
from modules.images.encode import encode_image, encode_jpeg, encode_png, ending_of, read_infotext
from modules.images.filenames import apply_pattern, next_number, sanitize
from modules.images.metadata.carriers import read_carried
from modules.jobs.writer import CODE, output_folder
from tests.jobs.runners import noise

NOW = datetime(2026, 11, 21, 15, 4, 5)


@pytest.mark.parametrize(
    "text", ["a cat\nSteps: 1", "é", "漢字 😀", "\0 inside", "x" * 20_000, "\u202e", "", "tab\tand\r\nmore"]
)
def test_text_comes_back(text):
    data = encode_png(noise(1), text)
    assert read_infotext(data) == text
    with Image.open(io.BytesIO(data)) as image:
        assert image.tobytes() == noise(1).tobytes()


def test_no_text():
    assert read_carried(encode_png(noise(1), None)).texts == {}


def test_texts_behind_the_pixels():
    data, chunk = encode_png(noise(1), None), b"tEXtlate\0text"
    end = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    assert read_carried(data[:-12] + end + data[-12:]).texts == {"late": "text"}


def bomb() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a" * 80_000_000, zip=True)
    buffer = io.BytesIO()
    noise(1).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def saved(kind: str) -> bytes:
    buffer = io.BytesIO()
    noise(1).save(buffer, format=kind)
    return buffer.getvalue()


def huge() -> bytes:
    """Only the header says that it is 60000 x 60000."""
    data = bytearray(encode_png(noise(1), None))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    return bytes(data)


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"",
        lambda: b"x",
        lambda: b"\x89PNG\r\n\x1a\n",
        lambda: encode_jpeg(noise(1, 30_000))[:900],
        lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        lambda: saved("TIFF"),
        lambda: saved("ICO"),
        lambda: saved("EPS"),
        lambda: encode_png(noise(1, 3000), "x")[:500],
        bomb,
        huge,
    ],
    ids=range(11),
)
def test_what_is_no_whole_picture(make):
    with pytest.raises(InputError) as caught:
        read_carried(make(), "init")
    assert caught.value.field == "init"


SAVED = {"png": ".png", "jpg": ".jpg", "jpeg": ".jpeg", "webp": ".webp", "avif": ".avif", "gif": ".gif"}


@pytest.mark.parametrize("setting", SAVED)
@pytest.mark.parametrize("text", ["a cat\nSteps: 1, Seed: 2, Size: 8x8", "é 漢字 😀\nnext", "x" * 20_000, None])
def test_text_comes_back_from_every_format(setting, text):
    data = encode_image(noise(1, 3000), text, {"samples_format": setting})
    assert read_infotext(data) == text
    assert ending_of(data, setting) == SAVED[setting]
    if text and setting in ("jpg", "webp", "avif"):
        assert b"UNICODE\0" + text[:5].encode("utf-16-be") in data  # A1111 reads this, and no other


def test_quality_and_lossless_do_what_they_say():
    image = noise(1, 30_000)
    small, large = (len(encode_image(image, None, {"samples_format": "jpg", "jpeg_quality": q})) for q in (20, 95))
    assert small * 2 < large
    with Image.open(io.BytesIO(encode_image(image, "x", {"samples_format": "webp", "webp_lossless": True}))) as found:
        assert found.convert("RGB").tobytes() == image.tobytes()
    with Image.open(io.BytesIO(encode_image(image, "x", {"samples_format": "webp"}))) as found:
        assert found.convert("RGB").tobytes() != image.tobytes()


def test_what_a_format_has_no_place_for_becomes_a_png():
    long = Image.new("RGB", (16_400, 2))
    assert ending_of(encode_image(long, "x", {"samples_format": "webp"})) == ".png"
    assert ending_of(encode_image(long, "x", {"samples_format": "jpg"})) == ".jpg"
    data = encode_image(noise(1), "y" * 40_000, {"samples_format": "jpg"})
    assert (ending_of(data), read_infotext(data)) == (".png", "y" * 40_000)
    for mode in ("RGBA", "L", "P", "1"):
        assert ending_of(encode_image(Image.new(mode, (8, 8)), None, {"samples_format": "jpg"})) == ".jpg"


def test_jpeg_is_a_jpeg():
    with Image.open(io.BytesIO(encode_jpeg(noise(1)))) as image:
        assert image.format == "JPEG"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("[seed]", "7"),
        ("[SEED]-[prompt_spaces]", "7-a b_c"),
        ("[prompt_words]", "a b c"),
        ("[date]", "2026-11-21"),
        ("[datetime]", "20261121150405"),
        ("[nope]", "[nope]"),
        ("[none]", ""),
        ("../../[seed]", "_.._7"),
        ("a/b\\c", "a_b_c"),
        ("...", ""),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("a\nb\0c\x1b", "a_b_c_"),
        ("x\u202ey", "x_y"),
    ],
)
def test_patterns(pattern, name):
    assert apply_pattern(pattern, {"seed": 7, "prompt": "a b/c"}, NOW) == name


def test_any_prompt_makes_one_short_part_of_a_path():
    source = random.Random(3)
    letters = [chr(c) for c in range(0x250)] + ["/", "\\", "..", "😀", "漢", "\u0301", "\u202e", "CON"]
    for _ in range(2000):
        name = sanitize("".join(source.choices(letters, k=source.randrange(300))))
        assert len(name.encode()) <= 201
        assert not set(name) & set('<>:"/\\|?*\0\n')
        assert name == name.strip(" .")
        assert name.isprintable()


def test_D4_numbers_go_on(tmp_path):
    assert next_number(tmp_path / "nope") == 0
    assert next_number(tmp_path) == 0
    for name in ("00000-1.png", "00007-x.png", "foreign.png", "100000-9.png", "²-1.png", "9999999999-x.png"):
        (tmp_path / name).touch()
    assert next_number(tmp_path) == 100_001


@pytest.mark.parametrize("part", ["", *CODE, "modules/core", "./webui/../webui"])
def test_F7_no_pictures_into_the_program(tmp_path, part):
    with pytest.raises(InputError, match="holds the program"):
        output_folder(Paths(data=tmp_path), str(ROOT / part))


def test_F7_no_pictures_into_the_program_by_a_link(tmp_path):
    (tmp_path / "link").symlink_to(ROOT / "modules")
    with pytest.raises(InputError, match="holds the program"):
        output_folder(Paths(data=tmp_path), "link/x")


def test_output_folders(tmp_path):
    paths = Paths(data=tmp_path)
    assert output_folder(paths, "outputs/x") == (tmp_path / "outputs" / "x").resolve()
    assert output_folder(paths, str(tmp_path / "else")) == (tmp_path / "else").resolve()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for wrong in ("a\0b", "~nobody-of-that-name/x"):
        with pytest.raises(InputError, match="is no folder"):
            output_folder(paths, wrong)
