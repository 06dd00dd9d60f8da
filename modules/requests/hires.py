"""Hires fix in numbers: the latent upscalers by name, and to which size a picture is enlarged."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

STEP = 8
"""Pixels that one latent of most models stands for."""

LATENT_MODES: Mapping[str, tuple[str, bool]] = {
    "Latent": ("bilinear", False),
    "Latent (antialiased)": ("bilinear", True),
    "Latent (bicubic)": ("bicubic", False),
    "Latent (bicubic antialiased)": ("bicubic", True),
    "Latent (nearest)": ("nearest", False),
    "Latent (nearest-exact)": ("nearest-exact", False),
}
"""A1111's upscalers that work on latents: the mode of `torch.nn.functional.interpolate`, and whether it is antialiased."""


def latent_mode(name: str) -> str | None:
    """The name of the latent upscaler that is meant; None for one that works on pixels."""
    wanted = name.strip().casefold()
    return next((known for known in LATENT_MODES if known.casefold() == wanted), None)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The size in pixels that a picture is enlarged to, and how much of it stands over in the end."""

    width: int
    height: int
    over_width: int = 0
    over_height: int = 0

    def latents(self, step: int = STEP) -> tuple[int, int]:
        """Width and height of the enlarged latents, each of `step` pixels."""
        return self.width // step, self.height // step

    def cut(self, step: int = STEP) -> tuple[int, int]:
        """How many columns and rows of latents are cut off, half of them at each side."""
        return self.over_width // step, self.over_height // step

    def final(self, step: int = STEP) -> tuple[int, int]:
        """Width and height in pixels of what is drawn in the end."""
        (columns, rows), (over_columns, over_rows) = self.latents(step), self.cut(step)
        return (columns - over_columns) * step, (rows - over_rows) * step

    def in_steps(self, step: int) -> "Target":
        """The same for a model that cannot read pictures between its steps; those of STEP pixels pass over what stands over."""
        if step == STEP:
            return self
        return replace(self, width=self.width // step * step, height=self.height // step * step)


def target_of(*, width: int, height: int, scale: float, resize_x: int, resize_y: int) -> Target:
    """A1111's rule: with both resizes 0 by `scale`; with one in proportion; with both the picture covers them and is cut."""
    if not resize_x and not resize_y:
        return Target(width=int(width * scale), height=int(height * scale))
    by_width = Target(width=resize_x, height=resize_x * height // width)
    by_height = Target(width=resize_y * width // height, height=resize_y)
    if not resize_y:
        return by_width
    if not resize_x:
        return by_height
    found = by_width if width / height < resize_x / resize_y else by_height
    return replace(found, over_width=found.width - resize_x, over_height=found.height - resize_y)
