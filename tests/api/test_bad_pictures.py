"""Pictures that are none, bombs, strange masks and shapes, plots without end: rows A14 to A16, R13 and F6 of the reliability matrix."""

import base64
import io
import struct
import zlib

import numpy as np
import psutil
import pytest
from PIL import Image

IMG2IMG, TXT2IMG, EXTRAS = "/sdapi/v1/img2img", "/sdapi/v1/txt2img", "/sdapi/v1/extra-single-image"
SMALL = {"width": 64, "height": 64, "steps": 1}


@pytest.fixture(scope="module", autouse=True)
def _next_picture_works(draw):
    """After all these refusals the engine still draws."""
    yield
    draw()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(width: int = 64, height: int = 64) -> Image.Image:
    rows = np.arange(width * height * 3, dtype=np.int64).reshape(height, width, 3) % 251
    return Image.fromarray(rows.astype(np.uint8))


GOOD = saved(gradient())
ROUTES = {
    "init_images": lambda data: (IMG2IMG, {**SMALL, "init_images": [data]}),
    "mask": lambda data: (IMG2IMG, {**SMALL, "init_images": [encoded(GOOD)], "mask": data}),
    "latent_mask": lambda data: (IMG2IMG, {**SMALL, "init_images": [encoded(GOOD)], "latent_mask": data}),
    "firstpass_image": lambda data: (TXT2IMG, {**SMALL, "enable_hr": True, "firstpass_image": data}),
    "image": lambda data: (EXTRAS, {"image": data}),
}


def refused(client, field: str, data: bytes | str) -> str:
    route, body = ROUTES[field](data if isinstance(data, str) else encoded(data))
    answer = client.post(route, json=body)
    assert answer.status_code == 422, answer.text[:300]
    said = answer.json()["detail"]
    assert said.startswith(field) and len(said) < 300 and "Traceback" not in said
    return said


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, depth: int = 8, kind: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))


NONE = {
    "no base64": "!!! no base64 !!!",
    "words": b"no picture at all",
    "cut PNG": GOOD[: len(GOOD) // 2],
    "cut JPEG": saved(gradient(), "JPEG")[:300],
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
    "PSD": b"8BPS\0\x01" + b"\0" * 6 + struct.pack(">HIIHH", 3, 64, 64, 8, 3) + b"\0" * 40,
    "DDS": saved(gradient(), "DDS"),
    "JPEG 2000": saved(gradient(), "JPEG2000"),
    "TIFF": saved(gradient(), "TIFF"),
    "ICO": saved(gradient(), "ICO"),
    "TGA": saved(gradient(), "TGA"),
    "PPM": saved(gradient(), "PPM"),
    "PDF": saved(gradient(), "PDF"),
    "header alone": png_header(64, 64),
}


@pytest.mark.parametrize("kind", NONE)
@pytest.mark.parametrize("field", ["init_images", "image"])
def test_A14_what_is_no_picture_of_a_web_page_is_refused(client, field, kind):
    said = refused(client, field, NONE[kind])
    assert "is not valid base64" in said if kind == "no base64" else "is no whole picture that can be read here" in said


@pytest.mark.parametrize("field", ["mask", "latent_mask", "firstpass_image"])
def test_A14_nor_is_it_taken_elsewhere(client, field):
    for kind in ("TIFF", "EPS", "cut PNG"):
        assert "is no whole picture" in refused(client, field, NONE[kind])


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(gradient(80, 40), "JPEG", exif=exif)


ODD = {
    "CMYK": saved(gradient().convert("CMYK"), "JPEG"),
    "16 bits": saved(Image.fromarray(np.full((64, 64), 40_000, np.uint16))),
    "1 bit": saved(gradient().convert("1")),
    "palette with alpha": saved(gradient().convert("P"), transparency=0),
    "grey with alpha": saved(gradient().convert("LA")),
    "turned": turned(),
    "moving": saved(gradient(), "GIF", save_all=True, append_images=[gradient(64, 64).rotate(90)] * 3),
    "moving WebP": saved(gradient(), "WEBP", save_all=True, append_images=[gradient().rotate(90)] * 3),
    "1x1": saved(gradient(1, 1)),
    "1x10000": saved(gradient(1, 10_000)),
    "10000x1": saved(gradient(10_000, 1)),
}


@pytest.mark.parametrize("kind", ODD)
def test_A14_odd_pictures_are_drawn_on(client, kind):
    for mode in range(4):
        answer = client.post(IMG2IMG, json={**SMALL, "init_images": [encoded(ODD[kind])], "resize_mode": mode})
        assert answer.status_code == 200, answer.text[:300]
    answer = client.post(EXTRAS, json={"image": encoded(ODD[kind]), "upscaler_1": "Lanczos", "upscaling_resize": 2})
    assert answer.status_code == 200, answer.text[:300]
    large = Image.open(io.BytesIO(base64.b64decode(answer.json()["image"]))).size
    if kind == "turned":
        assert large == (80, 160)


def bomb(kind: str) -> bytes:
    if kind == "header":
        return png_header(60_000, 60_000) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    if kind == "1 bit":
        rows = zlib.compress(b"\0" * (1 + 1500) * 12_000)
        return png_header(12_000, 12_000, 1, 0) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    if kind == "text":
        text = chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"a" * 64 * 2**20))
        return GOOD[:33] + text + GOOD[33:]
    if kind == "GIF":
        frame = saved(Image.new("P", (1, 1)), "GIF")
        return frame[:6] + struct.pack("<HH", 65_535, 65_535) + frame[10:]
    if kind == "WebP":
        return webp_bomb()
    return saved(Image.new("1", (9000, 9000)), "PNG")


def webp_bomb() -> bytes:
    """An animation whose canvas is 16384 x 16384, and whose frame is one pixel."""
    still = saved(Image.new("RGB", (1, 1)), "WEBP", lossless=True)
    frame = bytes(6) + bytes(6) + (100).to_bytes(3, "little") + b"\0" + still[12:]
    side = (16_383).to_bytes(3, "little")

    def part(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    inner = part(b"VP8X", b"\x02\0\0\0" + side + side) + part(b"ANIM", bytes(6)) + part(b"ANMF", frame)
    return b"RIFF" + struct.pack("<I", 4 + len(inner)) + b"WEBP" + inner


BOMBS = ("header", "1 bit", "text", "GIF", "WebP", "81 megapixels")


@pytest.mark.parametrize("kind", BOMBS)
def test_A15_bombs_are_refused_before_they_are_unpacked(client, kind):
    data = bomb(kind)
    refused(client, "init_images", NONE["words"])  # what the route itself takes is there now
    memory, before = psutil.Process(), psutil.Process().memory_info().rss
    for field in ("init_images", "mask", "image"):
        said = refused(client, field, data)
        assert "megapixels" in said or kind == "text" and "no whole picture" in said
    assert memory.memory_info().rss - before < 50 * 2**20


def test_A15_only_the_first_of_many_frames_is_read(client):
    frames = [Image.new("L", (8, 8), i % 200) for i in range(2000)]
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    before = psutil.Process().memory_info().rss
    assert client.post(IMG2IMG, json={**SMALL, "init_images": [encoded(data)]}).status_code == 200
    assert psutil.Process().memory_info().rss - before < 200 * 2**20


def test_A15_what_it_would_become_is_looked_at_too(client):
    strip, large = saved(gradient(1, 10_000)), saved(Image.new("L", (5000, 5000)))
    for image, values in (
        (strip, {"resize_mode": 1, "upscaling_resize_w": 16_384, "upscaling_resize_h": 16_384}),
        (large, {"upscaling_resize": 8}),
    ):
        answer = client.post(EXTRAS, json={"image": encoded(image), "upscaler_1": "Lanczos", **values})
        assert answer.status_code == 422 and "at most 268 megapixels" in answer.json()["detail"]
    tall = saved(Image.new("1", (1, 5_000_000)))
    before = psutil.Process().memory_info().rss
    for mode in range(4):
        for setting in ("None", "Lanczos"):
            override = {"upscaler_for_img2img": setting}
            body = {**SMALL, "init_images": [encoded(tall)], "resize_mode": mode, "override_settings": override}
            assert client.post(IMG2IMG, json=body).status_code == 200
    assert psutil.Process().memory_info().rss - before < 1000 * 2**20


MASKS = {
    "smaller": Image.new("L", (16, 40), 255),
    "larger": Image.new("L", (300, 200), 255),
    "black": Image.new("L", (64, 64), 0),
    "white": Image.new("L", (64, 64), 255),
    "alpha": Image.new("RGBA", (64, 64), (9, 9, 9, 0)),
    "palette": gradient().convert("P"),
    "CMYK": gradient().convert("CMYK"),
    "16 bits": Image.fromarray(np.full((64, 64), 65_535, np.uint16)),
    "1 bit": Image.new("1", (64, 64), 1),
    "1x1": Image.new("L", (1, 1), 255),
    "1x10000": Image.new("L", (1, 10_000), 255),
}


@pytest.mark.parametrize("kind", MASKS)
def test_A16_any_mask_is_brought_to_size(client, kind):
    mask = encoded(saved(MASKS[kind], "JPEG" if kind == "CMYK" else "PNG"))
    picture = {**SMALL, "init_images": [encoded(GOOD)], "mask": mask}
    for values in (
        {"inpaint_full_res": False},
        {"resize_mode": 3, "inpainting_fill": 2},
        {"inpainting_mask_invert": 1},
    ):
        answer = client.post(IMG2IMG, json={**picture, **values})
        assert answer.status_code == 200, answer.text[:300]
        assert Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0]))).size == (64, 64)
    one = {**picture, "latent_mask": mask}
    assert client.post(IMG2IMG, json=one).status_code == 200


def test_A16_what_is_not_masked_stays(client):
    half = Image.new("L", (32, 64))  # half as wide as the picture
    half.paste(255, (16, 0, 32, 64))
    body = {**SMALL, "init_images": [encoded(GOOD)], "mask": encoded(saved(half)), "mask_blur": 0}
    answer = client.post(IMG2IMG, json={**body, "inpaint_full_res": False})
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0]))).convert("RGB"), int)
    changed = np.abs(found - np.asarray(gradient(), int)).max(axis=(0, 2))
    assert changed[:24].max() == 0  # the mask's edge is soft once it is resized


def plotted(client, xs: str, ys: str, **values) -> str:
    args = [1, xs, [], 4, ys, [], 0, "", [], True, False, False, False, False, False, False, 0, False]
    body = {**SMALL, "script_name": "x/y/z plot", "script_args": args, **values}
    answer = client.post(TXT2IMG, json=body)
    assert answer.status_code == 422, answer.text[:200]
    return answer.json()["detail"]


def test_R13_plots_without_end_are_refused_with_their_numbers(client, service):
    before = service.store.recent(1)
    assert "1000 x 1000 x 1 = 1000000 cells" in plotted(client, "1-1000", "1-1000", steps=5)
    assert "over 1000 values" in plotted(client, "1-1000000000", "1")
    assert "16640 x 64 pixels: at most 16384" in plotted(client, "1-260", "1")
    assert "16640 x 512 pixels: at most 16384" in plotted(client, "1-65", "1", enable_hr=True, hr_scale=4, height=128)
    assert service.store.recent(1) == before, "nothing was stored"


HOSTILE = ("../../x", "a" * 5000, "\U0001f600" * 300, "nul\0here", "CON", "one\ntwo", "/etc/passwd", "..", "x. . .")


def test_F6_file_names_from_prompts_stay_where_they_belong(client, service):
    root = service.paths.data
    before = set(root.rglob("*"))
    options = {"samples_filename_pattern": "[prompt]", "directories_filename_pattern": "[prompt]"}
    for number in (True, False):
        override = {**options, "save_images_add_number": number}
        for prompt in (*HOSTILE, HOSTILE[0]):
            body = {**SMALL, "prompt": prompt, "save_images": True, "override_settings": override}
            answer = client.post(TXT2IMG, json=body)
            assert answer.status_code == 200, answer.text[:300]
    made = [path for path in set(root.rglob("*.png")) - before if path.is_file()]
    assert len(made) == 2 * (len(HOSTILE) + 1), "each under a name of its own"
    for path in made:
        assert path.resolve().is_relative_to((root / "outputs" / "txt2img-images").resolve())
        assert all(len(part.encode()) <= 255 and part.isprintable() for part in path.parts)
        assert not any(part.partition(".")[0].casefold() in ("con", "nul") for part in path.parts)
