"""SD upscale: the picture is made larger, and drawn on tile by tile."""

import math

from PIL import Image

from modules.core.errors import InputError
from modules.engine.scripts import EngineAPI, Script, Values
from modules.images.tiles import Tiling, tiling
from modules.requests.axes import remade
from modules.requests.generation import MAX_SEED, GenerationRequest
from modules.requests.img2img import Img2ImgRequest
from modules.requests.plot import MOST_PICTURES
from modules.requests.scripts import FIELD, ScriptField
from modules.scripts.pictures import as_picture, check_size, first_picture

TITLE = "SD upscale"
LEAST = 64
"""Pixels a side of a tile."""


class SDUpscale(Script):
    """A1111's SD upscale; the request's width and height are the tiles'."""

    title = TITLE
    tabs = ("img2img",)

    def fields(self, tab: str) -> tuple[ScriptField, ...]:
        """A1111's arguments in their order."""
        words = "Will upscale the image by the selected scale factor; use width and height sliders to set tile size"
        return (
            ScriptField(name="info", label=words, kind="note"),
            ScriptField(
                name="overlap", label="Tile overlap", kind="whole", default=64, minimum=0, maximum=256, step=16
            ),
            ScriptField(name="upscaler_index", label="Upscaler", kind="upscaler", default="None"),
            ScriptField(
                name="scale_factor", label="Scale Factor", kind="number", default=2, minimum=1, maximum=4, step=0.05
            ),
        )

    def run(self, request: GenerationRequest, values: Values, api: EngineAPI) -> None:
        """As many large pictures as the batch count says, each from seeds of its own."""
        assert isinstance(request, Img2ImgRequest)
        image = first_picture(request, api)
        check_size(tuple(int(side * values["scale_factor"]) for side in image.size), TITLE)  # type: ignore[arg-type]
        image, name = api.upscaled(image, values["upscaler_index"], values["scale_factor"])
        notes = {"SD upscale overlap": values["overlap"], "SD upscale upscaler": name}
        laid = tiles_for(image, request, values["overlap"], TITLE)
        batches = math.ceil(len(laid.boxes) / request.batch_size)
        if batches * request.n_iter > MOST_PICTURES:
            raise InputError(
                FIELD,
                f"{TITLE} would draw {batches * request.n_iter} batches of tiles: at most {MOST_PICTURES} are possible. Use larger tiles.",
            )
        api.expect(batches * request.n_iter)
        for number in range(request.n_iter):
            if api.ending():
                break
            self._draw(request, image, laid, api, api.seed + number, notes)

    def _draw(
        self, request: Img2ImgRequest, image: Image.Image, laid: Tiling, api: EngineAPI, seed: int, notes: Values
    ) -> None:
        """Draw all tiles and hand over the whole; a tile that is not drawn is as the upscaler left it."""
        tiles = [image.crop(box) for box in laid.boxes]
        infotext, drawn = "", 0
        for at in range(0, len(tiles), request.batch_size):
            group = tiles[at : at + request.batch_size]
            changed = {
                "init_images": tuple(as_picture(tile) for tile in group),
                "batch_size": len(group),
                "n_iter": 1,
                "seed": min(seed + at // request.batch_size, MAX_SEED - len(group) + 1),
                "width": laid.tile[0],
                "height": laid.tile[1],
            }
            found = api.sketch(remade(request, changed), notes)
            for i, one in enumerate(found):
                tiles[at + i] = one.image
            infotext = infotext or next((one.infotext for one in found), "")
            drawn += len(found)
        if drawn:
            api.hand_over(laid.joined(tiles), infotext, incomplete=drawn < len(tiles))


def tiles_for(image: Image.Image, request: Img2ImgRequest, overlap: int, title: str) -> Tiling:
    """Tiles of the request's size on the picture, or smaller where that is; raises InputError where none fit."""
    tile = min(request.width, image.width // 8 * 8), min(request.height, image.height // 8 * 8)
    if min(tile) < LEAST:
        raise InputError(
            FIELD,
            f"{title} has a picture of {image.width} x {image.height} pixels to draw: at least {LEAST} a side are needed. Use a larger factor.",
        )
    if min(tile) <= overlap:
        raise InputError(
            FIELD,
            f"{title} has tiles of {tile[0]} x {tile[1]} pixels that overlap by {overlap}: use larger tiles, or less overlap.",
        )
    return tiling(image.size, tile, overlap)
