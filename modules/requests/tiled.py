"""Tiled diffusion: pictures larger than the network is used to, in tiles, and regions with their own prompts."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from modules.core.errors import short
from modules.core.validation import Number, Text, Whole

MAX_REGIONS = 8
FORM = "x, y, width, height, Background or Foreground, feather, seed | prompt | negative prompt"


class Region(BaseModel):
    """A part of the picture, its sides in parts of the picture's, whose prompts are added to the picture's."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    x: Number = Field(ge=0, le=1)
    y: Number = Field(ge=0, le=1)
    width: Number = Field(gt=0, le=1)
    height: Number = Field(gt=0, le=1)
    mode: Literal["Background", "Foreground"] = "Background"
    feather: Number = Field(0.2, ge=0, le=1)
    seed: Whole = Field(-1, ge=-1)
    prompt: Text = ""
    negative_prompt: Text = ""

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width in a picture of that size; at least one each."""
        top, left = min(int(self.y * height), height - 1), min(int(self.x * width), width - 1)
        tall, wide = max(round(self.height * height), 1), max(round(self.width * width), 1)
        return top, left, min(tall, height - top), min(wide, width - left)


def read_regions(text: str) -> tuple[Region, ...]:
    """The regions of a text, one a line in the FORM, what is left out at its end being the defaults. Raises ValueError."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > MAX_REGIONS:
        raise ValueError(f"may hold at most {MAX_REGIONS} regions, a line each; take some out")
    return tuple(_region(line) for line in lines)


def write_regions(regions: tuple[Region, ...]) -> str:
    """The text that reads as these."""

    def line(region: Region) -> str:
        numbers = (f"{value:g}" for value in (region.x, region.y, region.width, region.height))
        prompts = (" ".join(text.split()) for text in (region.prompt, region.negative_prompt))
        return f"{', '.join(numbers)}, {region.mode}, {region.feather:g}, {region.seed} | {' | '.join(prompts)}"

    return "\n".join(line(region) for region in regions)


def _region(line: str) -> Region:
    place, _, prompts = line.partition("|")
    prompt, negative = _parted(prompts)
    parts = [part.strip() for part in place.split(",")]
    names = ("x", "y", "width", "height", "mode", "feather", "seed")
    if not 4 <= len(parts) <= len(names):
        raise ValueError(f"holds {short(line)}: a region looks like {FORM}")
    values: dict[str, str] = dict(zip(names, parts, strict=False))
    if "mode" in values:
        values["mode"] = values["mode"].capitalize()
    try:
        return Region.model_validate({**values, "prompt": prompt.strip(), "negative_prompt": negative.strip()})
    except ValueError as error:
        raise ValueError(f"holds {short(line)}: a region looks like {FORM}") from error


def _parted(text: str) -> tuple[str, str]:
    """The two prompts, parted by the first bar that is outside braces."""
    depth = 0
    for i, character in enumerate(text):
        depth = max(depth + (character == "{") - (character == "}"), 0)
        if character == "|" and not depth:
            return text[:i], text[i + 1 :]
    prompt, _, negative = text.partition("|")  # a brace that is never closed hides no bar
    return (text, "") if depth == 0 else (prompt, negative)


class TiledDiffusion(BaseModel):
    """MultiDiffusion (arXiv:2302.08113) or Mixture of Diffusers (arXiv:2302.02412). Tiles and their overlap are in latent pixels (8 of
    the picture's). `draw_background`: the picture's own prompt counts where there are regions, too. `noise_inverse`: img2img begins with
    noise found in the picture, by Euler, the network asked at times divided by `retouch`; new noise goes, by `renoise_strength`, where a
    guided filter over so many pixels finds little detail."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Literal["MultiDiffusion", "Mixture of Diffusers"] = Field("MultiDiffusion", title="Method")
    tile_width: Whole = Field(96, title="Latent tile width", ge=16, le=256)
    tile_height: Whole = Field(96, title="Latent tile height", ge=16, le=256)
    overlap: Whole = Field(48, title="Latent tile overlap", ge=0, le=256)
    tile_batch_size: Whole = Field(4, title="Latent tile batch size", ge=1, le=8)
    draw_background: bool = Field(True, title="Draw full canvas background")
    regions: Text = Field("", title="Regions", max_length=20_000)
    noise_inverse: bool = Field(False, title="Noise inversion (img2img)")
    noise_inverse_steps: Whole = Field(10, title="Inversion steps", ge=1, le=200)
    noise_inverse_retouch: Number = Field(1.0, title="Retouch", ge=1, le=100)
    noise_inverse_renoise_strength: Number = Field(1.0, title="Renoise strength", ge=0, le=2)
    noise_inverse_renoise_kernel: Whole = Field(64, title="Renoise kernel size", ge=2, le=512)

    @field_validator("regions")
    @classmethod
    def _readable(cls, text: str) -> str:
        return write_regions(read_regions(text))

    @property
    def places(self) -> tuple[Region, ...]:
        """The regions."""
        return read_regions(self.regions)
