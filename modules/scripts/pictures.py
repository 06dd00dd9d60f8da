"""What scripts that work on pictures share."""

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from modules.core.errors import InputError
from modules.engine.scripts import Drawn, EngineAPI
from modules.images.grids import columns_of, make_grid
from modules.images.infotext import format_infotext, parse_infotext
from modules.images.reading import open_picture
from modules.images.resizing import flattened
from modules.requests.generation import MAX_BATCH_PIXELS, MAX_SIDE
from modules.requests.img2img import Img2ImgRequest
from modules.requests.pictures import Picture
from modules.requests.scripts import FIELD, ScriptField

DIRECTIONS = ("left", "right", "up", "down")
STEP = 64
"""Pixels: A1111 makes outpainted sides multiples of this."""


def as_picture(image: Image.Image) -> Picture:
    """The image as a request takes it, without loss."""
    buffer = io.BytesIO()
    image.save(buffer, format="BMP")
    return Picture.of(buffer.getvalue())


def first_picture(request: Img2ImgRequest, api: EngineAPI) -> Image.Image:
    """What the request begins with, RGB, of its own size; raises InputError."""
    return flattened(open_picture(request.init_images[0], "init_images"), api.options["img2img_background_color"])


def check_size(size: tuple[int, int], title: str) -> None:
    """Raise InputError for a picture that nobody could draw."""
    width, height = size
    if max(size) > MAX_SIDE or width * height > MAX_BATCH_PIXELS:
        raise InputError(
            FIELD,
            f"{title} would make a picture of {width} x {height} pixels: at most {MAX_SIDE} a side are possible. "
            "Use a smaller factor or size.",
        )


def resaid(infotext: str, size: tuple[int, int], more: Mapping[str, Any] | None = None) -> str:
    """The infotext of a part as that of the whole picture of that size, with `more` of its fields changed."""
    parsed = parse_infotext(infotext)
    fields = {**parsed.fields, "Size": f"{size[0]}x{size[1]}", **(more or {})}
    return format_infotext(parsed.prompt, parsed.negative_prompt, fields)


def give_grid(api: EngineAPI, drawn: list[Image.Image], infotext: str, *, one_row: bool = False) -> None:
    """Hand over the grid of these pictures, if there are several, as the settings want it."""
    options = api.options
    if len(drawn) < 2 or not (options["grid_save"] or options["return_grid"]):
        return
    columns = len(drawn)
    if not one_row:
        columns = columns_of(columns, rows=options["n_rows"], batch_size=1, no_gaps=options["grid_prevent_empty_spots"])
    width, height = (max(sides) for sides in zip(*(image.size for image in drawn), strict=True))
    if max(columns * width, -(-len(drawn) // columns) * height) > MAX_SIDE:
        api.warn(f"The grid is not made: it would have more than {MAX_SIDE} pixels a side.")
        return
    sheet = make_grid(drawn, columns, background=options["grid_background_color"])
    api.grid(sheet, infotext, "grid", shown=options["return_grid"])


def direction_field() -> ScriptField:
    """Where a picture is to grow."""
    return ScriptField(
        name="direction", label="Outpainting direction", kind="several", choices=DIRECTIONS, default=[*DIRECTIONS]
    )


def pixels_field() -> ScriptField:
    """By how much."""
    return ScriptField(
        name="pixels", label="Pixels to expand", kind="whole", default=128, minimum=8, maximum=256, step=8
    )


def blur_field(default: int) -> ScriptField:
    """How soft the border is."""
    return ScriptField(name="mask_blur", label="Mask blur", kind="whole", default=default, minimum=0, maximum=64)


def margins(size: tuple[int, int], values: Mapping[str, Any], title: str) -> dict[str, int]:
    """The pixels to add at each side, so that sides that grow are multiples of STEP. Raises InputError for no direction."""
    asked = {side: values["pixels"] * (side in values["direction"]) for side in DIRECTIONS}
    if not any(asked.values()):
        raise InputError(FIELD, f"{title} has no direction to expand into. Choose at least one.")
    found = dict(asked)
    for first, second, side in (("left", "right", size[0]), ("up", "down", size[1])):
        added = asked[first] + asked[second]
        more = -(-(side + added) // STEP) * STEP - side if added else 0
        found[first] = asked[first] * more // added if asked[first] else 0
        found[second] = more - found[first] if asked[second] else 0
    return found


def infotext_of(drawn: list[Drawn]) -> str:
    """That of the first."""
    return drawn[0].infotext if drawn else ""
