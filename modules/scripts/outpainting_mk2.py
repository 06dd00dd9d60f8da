"""Outpainting mk2: side after side, what is new begins as noise that looks like the picture."""

from dataclasses import dataclass

from PIL import Image, ImageDraw

from modules.engine.scripts import Drawn, EngineAPI, Script, Values
from modules.images.masks import Box
from modules.images.matched_noise import with_matched_noise
from modules.requests.axes import remade
from modules.requests.generation import MAX_SEED, GenerationRequest
from modules.requests.img2img import Img2ImgRequest
from modules.requests.scripts import ScriptField
from modules.scripts.pictures import (
    DIRECTIONS,
    STEP,
    as_picture,
    blur_field,
    check_size,
    direction_field,
    first_picture,
    give_grid,
    infotext_of,
    margins,
    pixels_field,
)

TITLE = "Outpainting mk2"
ORIGINAL = 1


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side by which pictures grow: `pixels` of it, a border softened over so many pixels, and the request's size in pixels, which
    says how much of the picture is seen."""

    name: str
    pixels: int
    blur: int
    seen: tuple[int, int]

    @property
    def across(self) -> bool:
        """Does the picture grow in width?"""
        return self.name in ("left", "right")

    @property
    def before(self) -> bool:
        """Does the old picture move to the right or down?"""
        return self.name in ("left", "up")

    def grown(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size of a picture afterwards."""
        return (size[0] + self.pixels, size[1]) if self.across else (size[0], size[1] + self.pixels)

    def region(self, size: tuple[int, int]) -> Box:
        """The part of the sheet that is drawn for a picture that will have that size."""
        sheet = sheet_of(size)
        if self.across:
            width = min(self.seen[0], size[0]) // 8 * 8
            left = 0 if self.before else sheet[0] - width
            return left, 0, left + width, sheet[1]
        height = min(self.seen[1], size[1]) // 8 * 8
        top = 0 if self.before else sheet[1] - height
        return 0, top, sheet[0], top + height

    def mask(self, size: tuple[int, int], within: tuple[int, int], more: int) -> Image.Image:
        """White over what is new and `more` pixels of the old, on a sheet of the size `within`; of that of the picture afterwards."""
        edge, (width, height) = self.pixels + more, within
        box = {
            "left": (edge, 0, *size),
            "right": (0, 0, width - edge, size[1]),
            "up": (0, edge, *size),
            "down": (0, 0, size[0], height - edge),
        }[self.name]
        mask = Image.new("L", within, "white")
        if box[2] > box[0] and box[3] > box[1]:
            ImageDraw.Draw(mask).rectangle(box, fill="black")
        return mask


class OutpaintingMk2(Script):
    """A1111's outpainting mk2."""

    title = TITLE
    tabs = ("img2img",)

    def fields(self, tab: str) -> tuple[ScriptField, ...]:
        """A1111's arguments in their order."""
        words = "Recommended settings: Sampling Steps: 80-100, Sampler: Euler a, Denoising strength: 0.8"
        exponent = "Fall-off exponent (lower=higher detail)"
        return (
            ScriptField(name="info", label=words, kind="note"),
            pixels_field(),
            blur_field(8),
            direction_field(),
            ScriptField(name="noise_q", label=exponent, kind="number", default=1, minimum=0, maximum=4, step=0.01),
            ScriptField(
                name="color_variation",
                label="Color variation",
                kind="number",
                default=0.05,
                minimum=0,
                maximum=1,
                step=0.01,
            ),
        )

    def run(self, request: GenerationRequest, values: Values, api: EngineAPI) -> None:
        """As many larger pictures as are asked for, with a grid of them."""
        assert isinstance(request, Img2ImgRequest)
        old = first_picture(request, api)
        added = margins(old.size, values, TITLE)
        check_size(
            sheet_of((old.width + added["left"] + added["right"], old.height + added["up"] + added["down"])), TITLE
        )
        seen = request.width, request.height
        sides = [
            Side(name=name, pixels=added[name], blur=values["mask_blur"], seen=seen)
            for name in DIRECTIONS
            if added[name]
        ]
        api.expect(request.n_iter * len(sides))
        given, infotext = [], ""
        for number in range(request.n_iter):
            if api.ending():
                break
            seed = min(api.seed + number * request.batch_size, MAX_SEED - request.batch_size + 1)
            images, drawn = [old] * request.batch_size, []
            done = True
            for side in sides:
                images, drawn = self._expanded(remade(request, {"seed": seed}), images, side, values, api)
                infotext = infotext or infotext_of(drawn)
                done = done and len(drawn) == len(images)
            if not drawn and api.stopped:
                break
            for image, one in zip(images, drawn, strict=False):
                api.hand_over(image, one.infotext, incomplete=not done)
            given += images
        give_grid(api, given, infotext)

    def _expanded(
        self, request: Img2ImgRequest, images: list[Image.Image], side: Side, values: Values, api: EngineAPI
    ) -> tuple[list[Image.Image], list[Drawn]]:
        """The pictures with that side drawn, and what was drawn of it; what was not is the noise it begins with."""
        size = side.grown(images[0].size)
        sheets = [self._begun(image, side, values) for image in images]
        region = side.region(size)
        width, height = region[2] - region[0], region[3] - region[1]
        mask = side.mask(size, sheets[0].size, side.blur).crop(region)
        horizontal = any(name in values["direction"] for name in DIRECTIONS[:2])
        vertical = any(name in values["direction"] for name in DIRECTIONS[2:])
        changed = {
            "init_images": tuple(as_picture(sheet.crop(region)) for sheet in sheets),
            "mask": as_picture(mask),
            "latent_mask": as_picture(side.mask(size, (width, height), 2 * side.blur)),
            "mask_blur_x": 4 * side.blur * horizontal,
            "mask_blur_y": 4 * side.blur * vertical,
            "inpainting_fill": ORIGINAL,
            "inpaint_full_res": 0,
            "inpainting_mask_invert": 0,
            "n_iter": 1,
            "width": width,
            "height": height,
        }
        drawn = api.sketch(remade(request, changed))
        for sheet, one in zip(sheets, drawn, strict=False):
            sheet.paste(one.image, region[:2])
        return [sheet.crop((0, 0, *size)) for sheet in sheets], drawn

    def _begun(self, image: Image.Image, side: Side, values: Values) -> Image.Image:
        """The picture on its larger sheet, with noise where it is empty."""
        size = side.grown(image.size)
        sheet = Image.new("RGB", sheet_of(size))
        at = (side.pixels, 0) if side.across else (0, side.pixels)
        sheet.paste(image, at if side.before else (0, 0))
        mask = side.mask(size, sheet.size, side.blur)
        return with_matched_noise(sheet, mask, exponent=values["noise_q"], variation=values["color_variation"])


def sheet_of(size: tuple[int, int]) -> tuple[int, int]:
    """The multiples of STEP that hold a picture of that size."""
    width, height = (-(-side // STEP) * STEP for side in size)
    return width, height
