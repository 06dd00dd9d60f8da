"""What users draw over a picture on the page, laid into it."""

from PIL import Image, ImageFilter

from modules.core.errors import InputError

MAX_SIDE = 16_384


def painted(picture: Image.Image, drawing: Image.Image) -> Image.Image:
    """The picture with a drawing (RGBA, of any size) over it; RGBA if the picture has alpha, else RGB."""
    base = picture.convert("RGBA")
    found = Image.alpha_composite(base, _fitted(drawing.convert("RGBA"), base.size))
    return found if picture.has_transparency_data else found.convert("RGB")


def repainted(
    picture: Image.Image, drawing: Image.Image, *, transparency: float, blur: int
) -> tuple[Image.Image, Image.Image]:
    """A1111's inpaint sketch: the picture with the drawing blended in, and the mask (L) of what was drawn on.

    `transparency`: in percent, how much of the picture shines through. `blur`: of the drawing's border, in pixels.
    """
    strength = 1 - transparency / 100
    touched = _fitted(drawing.convert("RGBA"), picture.size).getchannel("A")
    mask = touched.point([0, *[round(255 * strength)] * 255])
    soften = ImageFilter.GaussianBlur(blur)
    original = picture.convert("RGB")
    over = painted(original, drawing).filter(soften)
    return Image.composite(over, original, mask.filter(soften)), mask


def scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """The sides times the scale, down to multiples of 8; raises InputError for sides that nothing can be drawn of."""
    width, height = (int(side * scale) // 8 * 8 for side in size)
    if not (64 <= width <= MAX_SIDE and 64 <= height <= MAX_SIDE):
        raise InputError(
            "scale",
            f"scale is {scale:g} and the picture {size[0]} x {size[1]}: the result would be {width} x {height}, and each side must "
            f"be from 64 to {MAX_SIDE}. Choose another scale.",
        )
    return width, height


def _fitted(drawing: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Large pictures are drawn on at less than their size."""
    return drawing if drawing.size == size else drawing.resize(size, Image.Resampling.BILINEAR)
