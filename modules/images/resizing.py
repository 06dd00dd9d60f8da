"""Pictures brought to a size, as A1111 does it."""

from collections.abc import Callable

from PIL import Image

LANCZOS = Image.Resampling.LANCZOS
JUST, CROP, FILL, LATENT = range(4)
"""A1111's resize modes."""

MUCH, GAP = 500, 4  # times smaller, and to how many times what is wanted it is averaged
LONGEST = 16  # times the shape that is asked for

Resize = Callable[[Image.Image, int, int], Image.Image]
"""Makes a picture of exactly that width and height of another."""


def by_lanczos(image: Image.Image, width: int, height: int) -> Image.Image:
    """As most things are resized; what becomes far smaller is averaged before, as it would take gigabytes otherwise."""
    much = max(image.width / width, image.height / height) > MUCH
    return image.resize((width, height), LANCZOS, reducing_gap=GAP if much else None)


def resize_picture(image: Image.Image, mode: int, width: int, height: int, resize: Resize = by_lanczos) -> Image.Image:
    """The picture at that size: stretched (0), cut to the shape (1), or with its border rows drawn out to it (2), by `resize`.

    Of 1 and 2 the answer is RGB, or RGBA for a picture that has alpha.
    """
    if mode in (JUST, LATENT):
        return resize(image, width, height)
    if mode == CROP and _much_stands_over(image, width, height):
        return image.resize((width, height), LANCZOS, box=_middle(image, width, height))
    inner = resize(image, *_scaled(image, width, height, covers=mode == CROP))
    result = Image.new("RGBA" if image.mode in ("RGBA", "LA", "PA") else "RGB", (width, height))
    left, top = width // 2 - inner.width // 2, height // 2 - inner.height // 2
    result.paste(inner, (left, top))
    if mode == FILL:
        _draw_out(result, inner, left, top)
    return result


def _scaled(image: Image.Image, width: int, height: int, *, covers: bool) -> tuple[int, int]:
    """Its size in its own shape, as large as fits into width x height, or so that it `covers` that; no side below 1."""
    wider = width * image.height > height * image.width  # than the picture
    if wider == covers:
        return width, max(image.height * width // image.width, 1)
    return max(image.width * height // image.height, 1), height


def _much_stands_over(image: Image.Image, width: int, height: int) -> bool:
    """Would a strip have to become far larger than what is seen of it?"""
    shape, wanted = image.width / image.height, width / height
    return max(shape / wanted, wanted / shape) > LONGEST


def _middle(image: Image.Image, width: int, height: int) -> tuple[float, float, float, float]:
    """The part of the picture that has the shape width x height, as large as can be."""
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    return left, top, left + width * scale, top + height * scale


def _draw_out(result: Image.Image, inner: Image.Image, left: int, top: int) -> None:
    """Fill what `inner`, laid at (left, top), leaves free of `result` with its outermost rows or columns."""
    width, height = result.size
    if top > 0:
        first, last = (0, 0, width, 0), (0, inner.height, width, inner.height)
        result.paste(inner.resize((width, top), box=first), (0, 0))
        result.paste(inner.resize((width, top), box=last), (0, top + inner.height))
    elif left > 0:
        first, last = (0, 0, 0, height), (inner.width, 0, inner.width, height)
        result.paste(inner.resize((left, height), box=first), (0, 0))
        result.paste(inner.resize((left, height), box=last), (left + inner.width, 0))


def flattened(image: Image.Image, background: str) -> Image.Image:
    """The picture as RGB, what is transparent over that colour."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        under = Image.new("RGBA", image.size, background)
        under.paste(image, mask=image)
        image = under
    return image.convert("RGB")
