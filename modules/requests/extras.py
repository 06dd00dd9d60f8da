"""What is done to finished pictures: larger ones, restored faces, crops, copies, captions."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from modules.core.errors import InputError
from modules.core.validation import Number, Text, Whole, input_error
from modules.requests.pictures import Picture

NONE = "None"
MAX_PICTURES = 1000
MAX_SIDE = 16_384
FLIPS = ("Horizontal", "Vertical", "Both")
OBJECTIVES = ("Maximize area", "Minimize error")


class Part(BaseModel):
    """One operation of those that are off unless asked for. Frozen, and strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SplitOversized(Part):
    """Pictures much longer than the target are cut into several, which overlap by that part of them."""

    threshold: Number = Field(0.5, ge=0, le=1)
    overlap_ratio: Number = Field(0.2, ge=0, le=0.9)


class FocalCrop(Part):
    """Pictures are cut to the target's proportions around what matters in them. `debug`: a picture that shows what that was."""

    face_weight: Number = Field(0.9, ge=0, le=1)
    entropy_weight: Number = Field(0.15, ge=0, le=1)
    edges_weight: Number = Field(0.5, ge=0, le=1)
    debug: bool = False


class AutosizedCrop(Part):
    """Pictures are cut to the sides (multiples of 64 pixels between these bounds) that suit their proportions best."""

    mindim: Whole = Field(384, ge=64, le=2048)
    maxdim: Whole = Field(768, ge=64, le=2048)
    minarea: Whole = Field(64 * 64, ge=64 * 64, le=2048 * 2048)
    maxarea: Whole = Field(640 * 640, ge=64 * 64, le=2048 * 2048)
    objective: Literal["Maximize area", "Minimize error"] = "Maximize area"
    threshold: Number = Field(0.1, ge=0, le=1)


class ExtrasRequest(BaseModel):
    """Pictures, or a folder with pictures and videos (or one video), and what is done to them, in the order of the fields.

    `names`: of the files that `images` came from, or none. `upscaling_*`, `upscaler_*`, the visibilities and `codeformer_weight` are
    A1111's API names; `resize_mode` 0: by a factor, no side above `max_side_length` (0: no limit); 1: to a width and height.
    `upscale_first`: before faces are restored. `output_dir` "": the setting's folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    images: tuple[Picture, ...] = Field((), max_length=MAX_PICTURES)
    names: tuple[Text, ...] = Field((), max_length=MAX_PICTURES)
    input_dir: Text = Field("", max_length=1000)
    output_dir: Text = Field("", max_length=1000)
    upscale: bool = True
    resize_mode: Whole = Field(0, ge=0, le=1)
    upscaling_resize: Number = Field(4.0, gt=0, le=16)
    max_side_length: Whole = Field(0, ge=0, le=MAX_SIDE)
    upscaling_resize_w: Whole = Field(512, ge=1, le=MAX_SIDE)
    upscaling_resize_h: Whole = Field(512, ge=1, le=MAX_SIDE)
    upscaling_crop: bool = True
    upscaler_1: Text = Field(NONE, max_length=1000)
    upscaler_2: Text = Field(NONE, max_length=1000)
    extras_upscaler_2_visibility: Number = Field(0.0, ge=0, le=1)
    upscale_first: bool = True
    gfpgan_visibility: Number = Field(0.0, ge=0, le=1)
    codeformer_visibility: Number = Field(0.0, ge=0, le=1)
    codeformer_weight: Number = Field(0.0, ge=0, le=1)
    remove_background: bool = False
    split_oversized: SplitOversized | None = None
    focal_crop: FocalCrop | None = None
    autosized_crop: AutosizedCrop | None = None
    flipped_copies: tuple[Literal["Horizontal", "Vertical", "Both"], ...] = Field((), max_length=3)
    caption: bool = False
    tags: bool = False
    save_images: bool = True

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if bool(self.images) == bool(self.input_dir.strip()):
            words = "both pictures and input_dir" if self.images else "neither a picture nor input_dir"
            raise InputError("images", f"images: {words} are given. Give one of them.")
        if len(self.names) not in (0, len(self.images)):
            raise InputError("names", f"names holds {len(self.names)} for {len(self.images)} pictures: give one each.")
        crop = self.autosized_crop
        if crop and (crop.mindim > crop.maxdim or crop.minarea > crop.maxarea):
            raise InputError(
                "autosized_crop",
                f"autosized_crop has bounds from {crop.mindim} to {crop.maxdim} pixels and areas from {crop.minarea} to "
                f"{crop.maxarea}: the lower ones must not be above the upper ones.",
            )
        return self

    @property
    def count(self) -> int:
        """How many pictures are given; 0 for a folder, which is looked at later."""
        return len(self.images)

    @property
    def upscalers(self) -> dict[str, str]:
        """The upscalers that are used, by the fields that name them; A1111 does nothing without the first."""
        names = {"upscaler_1": self.upscaler_1, "upscaler_2": self.upscaler_2}
        if not self.upscale or is_none(self.upscaler_1):
            return {}
        second = not is_none(self.upscaler_2) and self.extras_upscaler_2_visibility > 0
        return names if second else {"upscaler_1": self.upscaler_1}


def is_none(name: str) -> bool:
    """Does that name an upscaler that does nothing?"""
    return name.strip().casefold() in ("", NONE.casefold())


def make_extras_request(values: dict[str, Any]) -> ExtrasRequest:
    """A request from loose values; raises InputError naming the first wrong one."""
    try:
        return ExtrasRequest.model_validate(values)
    except ValidationError as error:
        raise input_error(error) from error
