"""Ultimate SD upscale: the picture is made larger and drawn on tile by tile in place, then along its seams."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image

from modules.core.errors import InputError
from modules.engine.scripts import EngineAPI, Script, Values
from modules.images.infotext import format_infotext
from modules.images.masks import blurred, masked_region
from modules.images.redraw_masks import Grid, bands, chess, crossings, half_tiles
from modules.requests.axes import remade
from modules.requests.generation import MAX_SIDE, GenerationRequest
from modules.requests.img2img import Img2ImgRequest
from modules.requests.plot import MOST_PICTURES
from modules.requests.scripts import FIELD, ScriptField
from modules.scripts.pictures import as_picture, check_size, first_picture, resaid
from modules.scripts.ultimate_fields import CUSTOM, FIELDS, IMAGE, TITLE, TYPES

STEP = 64
FEWEST = 64
ORIGINAL = 1


@dataclass(frozen=True, kw_only=True)
class Patch:
    """One part to draw: a mask (L) as large as the picture, what of it is drawn with, and at which size in pixels."""

    mask: Image.Image
    size: tuple[int, int]
    padding: int
    blur: int
    strength: float


class UltimateUpscale(Script):
    """The extension's script, with its arguments in their order."""

    title = TITLE
    tabs = ("img2img",)

    def fields(self, tab: str) -> tuple[ScriptField, ...]:
        """Those of the extension."""
        return FIELDS

    def run(self, request: GenerationRequest, values: Values, api: EngineAPI) -> None:
        """Enlarge, redraw, mend the seams; hand over the picture after redrawing and, if there was a pass over seams, after that."""
        assert isinstance(request, Img2ImgRequest)
        old = first_picture(request, api)
        size = _target(request, values, old.size)
        check_size(size, TITLE)
        grid = _grid(size, values)
        image, name = _enlarged(old, size, values, api)
        notes = {
            "Ultimate SD upscale upscaler": name,
            "Ultimate SD upscale tile_width": grid.tile[0],
            "Ultimate SD upscale tile_height": grid.tile[1],
            "Ultimate SD upscale mask_blur": values["mask_blur"],
            "Ultimate SD upscale padding": values["padding"],
        }
        first = list(_redrawn(request, values, grid))
        second = list(_seams(values, grid))
        if len(first) + len(second) > MOST_PICTURES:
            raise InputError(
                FIELD,
                f"{TITLE} would draw {len(first) + len(second)} tiles: at most {MOST_PICTURES} are possible. Use larger tiles.",
            )
        api.expect(len(first) + len(second))
        work = Work(request=request, api=api, notes=notes, image=image)
        work.draw(first)
        work.give(keep=values["save_upscaled_image"], whole=not api.stopped)
        if second and not api.stopped:
            work.draw(second)
            work.give(keep=values["save_seams_fix_image"], whole=not api.stopped)


@dataclass(kw_only=True)
class Work:
    """The picture as it is drawn on, patch after patch."""

    request: Img2ImgRequest
    api: EngineAPI
    notes: Values
    image: Image.Image
    infotext: str = ""
    blur: int = field(default=0)

    def draw(self, patches: list[Patch]) -> None:
        """Draw them one after the other, each into what the others left."""
        for patch in patches:
            mask = blurred(patch.mask, patch.blur, patch.blur)
            box = masked_region(mask, patch.padding, *patch.size)
            if box is None:
                continue
            changed = {
                "init_images": (as_picture(self.image.crop(box)),),
                "mask": as_picture(mask.crop(box)),
                "mask_blur_x": 0,  # it was blurred as a whole
                "mask_blur_y": 0,
                "inpainting_fill": ORIGINAL,
                "inpainting_mask_invert": 0,
                "inpaint_full_res": 1,
                "inpaint_full_res_padding": patch.padding,
                "denoising_strength": patch.strength,
                "n_iter": 1,
                "batch_size": 1,
                "seed": self.api.seed,
                "width": patch.size[0],
                "height": patch.size[1],
            }
            notes = {**self.notes, **({"Mask blur": patch.blur} if patch.blur else {})}
            for one in self.api.sketch(remade(self.request, changed), notes):
                self.image = self.image.copy()
                self.image.paste(one.image, box[:2])
                self.infotext = one.infotext

    def give(self, *, keep: bool, whole: bool) -> None:
        """Hand over the picture as it is now."""
        request = self.request
        said = self.infotext or format_infotext(request.prompt, request.negative_prompt, {**self.notes, "Size": ""})
        self.api.hand_over(self.image, resaid(said, self.image.size), incomplete=not whole, keep=keep)


def _target(request: Img2ImgRequest, values: Values, old: tuple[int, int]) -> tuple[int, int]:
    """The size of the large picture in pixels."""
    if values["target_size_type"] == CUSTOM:
        return values["custom_width"], values["custom_height"]
    if values["target_size_type"] == IMAGE:
        width, height = (math.ceil(side * values["custom_scale"] / STEP) * STEP for side in old)
        return width, height
    return request.width, request.height


def _grid(size: tuple[int, int], values: Values) -> Grid:
    width, height = values["tile_width"], values["tile_height"]
    tile = width or height, height or width
    if min(tile) < FEWEST:
        raise InputError(FIELD, f"{TITLE} has tiles of {tile[0]} x {tile[1]} pixels: at least {FEWEST} are needed.")
    return Grid(size=size, tile=tile)


def _enlarged(image: Image.Image, size: tuple[int, int], values: Values, api: EngineAPI) -> tuple[Image.Image, str]:
    """The picture of that size and the upscaler's name: by whole factors as the extension takes them, then by Lanczos."""
    name = api.upscaler_name(values["upscaler_index"])
    for scale in factors(math.ceil(max(size) / max(image.size))):
        image, _ = api.upscaled(image, name, scale)
    return image.resize(size, Image.Resampling.LANCZOS), name


def factors(scale: int) -> list[int]:
    """Upscaling goes by 4, 3 and 2, one after the other, until it is at least by `scale`; none for a picture that is large enough."""
    while scale > 1 and all(scale % factor for factor in (2, 3)):
        scale += 1
    found, done = [], 1
    while done < scale:
        left = scale // done
        found.append(next((factor for factor in (4, 3, 2) if left % factor == 0), 2))
        done *= found[-1]
    return found


def _redrawn(request: Img2ImgRequest, values: Values, grid: Grid) -> Iterator[Patch]:
    """The tiles, in lines or like the fields of a chess board."""
    padding = values["padding"]
    size = tuple(math.ceil((side + padding) / STEP) * STEP for side in grid.tile)
    order = {"Linear": grid.places, "Chess": chess(grid)}.get(values["redraw_mode"], [])
    for place in order:
        yield Patch(
            mask=grid.mask(place),
            size=(size[0], size[1]),
            padding=padding,
            blur=values["mask_blur"],
            strength=request.denoising_strength,
        )


def _seams(values: Values, grid: Grid) -> Iterator[Patch]:
    """What is drawn once more where tiles meet."""
    kind, padding, strength = values["seams_fix_type"], values["seams_fix_padding"], values["seams_fix_denoise"]
    blur = values["seams_fix_mask_blur"]
    if kind == TYPES[1]:
        width = values["seams_fix_width"]
        for mask, across in bands(grid, width) if width else ():
            thin = _in_steps(width + 2 * padding)
            size = (_in_steps(grid.size[0]), thin) if across else (thin, _in_steps(grid.size[1]))
            yield Patch(mask=mask, size=size, padding=padding, blur=0, strength=strength)
    elif kind in TYPES[2:]:
        for mask in half_tiles(grid):
            yield Patch(mask=mask, size=grid.tile, padding=padding, blur=blur, strength=strength)
        for mask in crossings(grid) if kind == TYPES[3] else ():
            yield Patch(mask=mask, size=grid.tile, padding=0, blur=blur, strength=strength)


def _in_steps(side: int) -> int:
    """A side that can be drawn."""
    return min(max(math.ceil(side / 8) * 8, FEWEST), MAX_SIDE)
