"""The pictures and masks of an img2img request, brought to where and how large they are drawn at, as A1111 does it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, ImageOps

from modules.images.inpainting_infotext import soft_fields
from modules.images.masks import Box, blurred, filled, mask_of, masked_region, without
from modules.images.reading import MAX_PIXELS, open_picture
from modules.images.resizing import CROP, FILL, JUST, LATENT, Resize, by_lanczos, flattened, resize_picture
from modules.requests.img2img import INPAINT_AREAS, MASK_MODES, MASKED_CONTENT, Img2ImgRequest

CONTENT_ORIGINAL = 1
LEAST_SIDE = 64  # pixels
BLANK = "The mask is blank, so the whole picture is drawn on. Paint what is to change."


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One picture to draw on. All are RGB or L; a `mask` is white where something is to be drawn.

    `picture`: what the latents are made of, of the request's size (but of its own for a latent upscale). `mask`, `changing`: what the
    network is told is masked and what changes, of that size, None for everything. `whole`: the picture that the result is laid under or
    into, with `cover`, the mask of its size. `region`: the part of `whole` that is drawn, None for all of it.
    """

    picture: Image.Image
    whole: Image.Image
    mask: Image.Image | None = None
    changing: Image.Image | None = None
    cover: Image.Image | None = None
    region: Box | None = None

    @property
    def shown(self) -> Image.Image:
        """The part of the whole picture that is drawn on, as it was."""
        return self.whole.crop(self.region) if self.region else self.whole

    @property
    def overlay(self) -> Image.Image | None:
        """What stays of the whole picture, RGBA."""
        return without(self.whole, self.cover) if self.cover else None

    def covered(self, mask: Image.Image) -> "Sheet":
        """The same with another mask (L) over what is drawn."""
        if self.region is None:
            return replace(self, cover=mask)
        cover = Image.new("L", self.whole.size)
        left, top, right, bottom = self.region
        cover.paste(resize_picture(mask, CROP, right - left, bottom - top).convert("L"), (left, top))
        return replace(self, cover=cover)


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """A sheet for each init image, what A1111's infotext says of them, and sentences for the user."""

    sheets: tuple[Sheet, ...]
    fields: Mapping[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def masked(self) -> bool:
        """Does only a part change?"""
        return self.sheets[0].mask is not None


def lay_out(request: Img2ImgRequest, background: str, resize: Resize = by_lanczos) -> Canvas:
    """The request's pictures made ready, brought to size by `resize`; what is transparent in them is over that colour.

    Raises InputError, and what `resize` raises.
    """
    size = (request.width, request.height)
    pictures = [flattened(open_picture(picture, "init_images"), background) for picture in request.init_images]
    mask = _mask(request)
    if mask is None or (request.inpaint_full_res and mask.getbbox() is None):
        sheets = tuple(_plain(picture, request.resize_mode, size, resize) for picture in pictures)
        return Canvas(
            sheets=sheets, fields=_mask_fields(request) if mask else {}, warnings=(BLANK,) if mask is not None else ()
        )
    changing = open_picture(request.latent_mask, "latent_mask").convert("L") if request.latent_mask else None
    lay = _part if request.inpaint_full_res else _all
    sheets = tuple(lay(picture, mask, changing, request, resize) for picture in pictures)
    return Canvas(
        sheets=sheets, fields=_mask_fields(request) | _area_fields(request) | soft_fields(request.soft_inpainting)
    )


def _mask(request: Img2ImgRequest) -> Image.Image | None:
    """The request's mask as it was meant, L, of its own size."""
    if request.mask is None:
        return None
    rounded = request.mask_round and not request.soft_inpainting
    mask = mask_of(open_picture(request.mask, "mask"), rounded=rounded)
    if request.inpainting_mask_invert:
        mask = ImageOps.invert(mask)
    return blurred(mask, request.mask_blur_x, request.mask_blur_y)


def _plain(picture: Image.Image, mode: int, size: tuple[int, int], resize: Resize) -> Sheet:
    picture = _for_latents(picture, size) if mode == LATENT else resize_picture(picture, mode, *size, resize)
    return Sheet(picture=picture, whole=picture)


def _for_latents(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture in its own size, or with its sides drawn out to what autoencoders take at the least; a strip that would become too
    large by that, in `size`."""
    width, height = (max(side, LEAST_SIDE) for side in picture.size)
    if width * height > MAX_PIXELS:
        return resize_picture(picture, JUST, *size)
    return picture if picture.size == (width, height) else resize_picture(picture, JUST, width, height)


def _all(
    picture: Image.Image,
    mask: Image.Image,
    changing: Image.Image | None,
    request: Img2ImgRequest,
    resize: Resize,
) -> Sheet:
    """The whole picture is drawn, and what the mask leaves black laid over it; greys of the mask hide half as much."""
    size, mode = (request.width, request.height), request.resize_mode
    mask = resize_picture(mask, mode, *size).convert("L")
    whole = resize_picture(picture, mode, *size, resize)
    drawn = _for_latents(picture, size) if mode == LATENT else whole
    changing = changing or mask
    return Sheet(
        picture=_emptied(drawn, changing, request.inpainting_fill),
        whole=whole,
        mask=mask,
        changing=changing,
        cover=mask.point([min(2 * value, 255) for value in range(256)]),
    )


def _part(
    picture: Image.Image,
    mask: Image.Image,
    changing: Image.Image | None,
    request: Img2ImgRequest,
    resize: Resize,
) -> Sheet:
    """What is masked is drawn at the request's size, and laid back into the picture."""
    if mask.size != picture.size:
        mode = JUST if request.resize_mode == LATENT else request.resize_mode
        mask = resize_picture(mask, mode, *picture.size).convert("L")
    region = masked_region(mask, request.inpaint_full_res_padding, request.width, request.height)
    size = (request.width, request.height)
    drawn = resize_picture(picture.crop(region), FILL, *size, resize)
    seen = resize_picture(mask.crop(region), FILL, *size).convert("L")
    changing = changing or seen
    return Sheet(
        picture=_emptied(drawn, changing, request.inpainting_fill),
        whole=picture,
        mask=seen,
        changing=changing,
        cover=mask,
        region=region,
    )


def _emptied(picture: Image.Image, mask: Image.Image, content: int) -> Image.Image:
    """The picture without what the mask covers, unless the original is to be drawn on."""
    if content == CONTENT_ORIGINAL:
        return picture
    return filled(picture, mask if mask.size == picture.size else mask.resize(picture.size))


def _mask_fields(request: Img2ImgRequest) -> dict[str, Any]:
    x, y = request.mask_blur_x, request.mask_blur_y
    return {
        "Mask mode": MASK_MODES[1] if request.inpainting_mask_invert else None,
        "Mask blur": x if x == y and x else None,
        "Mask rounding": None if request.mask_round else False,
    }


def _area_fields(request: Img2ImgRequest) -> dict[str, Any]:
    content, part = request.inpainting_fill, request.inpaint_full_res
    return {
        "Inpaint area": INPAINT_AREAS[1] if part else None,
        "Masked area padding": request.inpaint_full_res_padding if part else None,
        "Masked content": MASKED_CONTENT[content] if content != CONTENT_ORIGINAL else None,
    }
