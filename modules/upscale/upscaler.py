"""What makes a picture larger: the seam that hires fix, img2img, scripts and Extras use."""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from modules.core.errors import InputError
from modules.images.resizing import by_lanczos
from modules.library.upscalers import LANCZOS, NEAREST, NONE

Check = Callable[[], None]
"""Called between pieces of work; raises Cancelled when it is to stop."""

Tell = Callable[[int, int], None]
"""Told how many pieces of the work at hand are done, and how many there are."""

Grow = Callable[[Image.Image, float, Check, Tell], Image.Image]
MAX_GROWTHS = 3
MOST = 16_384**2
"""Pixels of what a picture may become."""

STRIP = 16
"""A picture whose shape is so many times another than what it is wanted for is resized at once: its length would grow without end."""


def nothing() -> None:
    """A check that never stops anything."""


def silent(done: int, whole: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, kw_only=True)
class Upscaler:
    """An upscaler by name. `grow(image, scale, check, tell)` does what it does at once, whatever factor that is: A1111 calls it up to
    three times until a picture is large enough."""

    name: str
    grow: Grow

    def upscale(self, image: Image.Image, scale: float, *, check: Check = nothing, tell: Tell = silent) -> Image.Image:
        """`image` larger by `scale`, as A1111 does it: sides are cut down to multiples of 8 pixels; Lanczos fits the rest.

        Raises InputError for more than MOST pixels, ModelFileError for a file that cannot be used, what `check` raises,
        torch.OutOfMemoryError.
        """
        width, height = (_side(side, scale) for side in image.size)
        if width * height > MOST:
            raise InputError(
                "image",
                f"image would become {width} x {height} pixels: at most {MOST // 10**6} megapixels are made of one. Choose a "
                "smaller factor or size.",
            )
        for growth in range(MAX_GROWTHS):
            large = image.width >= width and image.height >= height
            if large and (growth or scale != 1):
                break
            check()
            before = image.size
            image = self.grow(image, scale, check, tell)
            if image.size == before:
                break
        return _exactly(image, width, height)

    def to(self, image: Image.Image, width: int, height: int, *, check: Check = nothing) -> Image.Image:
        """`image` of exactly that size in pixels, whatever its proportions; smaller ones are made by Lanczos alone."""
        scale = max(width / image.width, height / image.height)
        strip = scale > STRIP * min(width / image.width, height / image.height)
        if scale > 1 and self.name != NONE and not strip:
            image = self.upscale(image, scale, check=check)
        return _exactly(image, width, height)


def plain_upscalers() -> dict[str, Upscaler]:
    """Those that need no file, by name."""
    grows: dict[str, Grow] = {
        NONE: lambda image, scale, check, tell: image,
        LANCZOS: lambda image, scale, check, tell: _resized(image, scale, Image.Resampling.LANCZOS),
        NEAREST: lambda image, scale, check, tell: _resized(image, scale, Image.Resampling.NEAREST),
    }
    return {name: Upscaler(name=name, grow=grow) for name, grow in grows.items()}


def _side(side: int, scale: float) -> int:
    """A1111's side of a picture larger by `scale`; it makes nothing of sides below 8 pixels, which stay as they come here."""
    return int(side * scale) // 8 * 8 or max(int(side * scale), 1)


def _resized(image: Image.Image, scale: float, resample: Image.Resampling) -> Image.Image:
    return image.resize((max(int(image.width * scale), 1), max(int(image.height * scale), 1)), resample)


def _exactly(image: Image.Image, width: int, height: int) -> Image.Image:
    return image if image.size == (width, height) else by_lanczos(image, width, height)
