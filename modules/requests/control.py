"""ControlNet units, in the names of Mikubill's extension: what a picture is to keep to beside its prompt."""

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import Self

from modules.core.errors import InputError, short
from modules.core.validation import Number, Text, Whole
from modules.requests.pictures import Picture

MAX_UNITS = 10
NONE = "None"
NO_MODULE = "none"

RESIZE_MODES = ("Just Resize", "Crop and Resize", "Resize and Fill")
CONTROL_MODES = ("Balanced", "My prompt is more important", "ControlNet is more important")
HIRES_OPTIONS = ("Both", "Low res only", "High res only")
UNION_TYPES = (
    *("OpenPose", "Depth", "Soft Edge", "Hard Edge", "Normal Map", "Segmentation"),
    *("Tile", "Inpaint", "Unknown", "Blur", "Gray", "Low Quality"),
)
WEIGHT_TYPES = (
    *("normal", "ease in", "ease out", "ease in-out", "reverse in-out", "weak input", "weak output"),
    *("weak middle", "strong middle", "style transfer", "composition", "strong style transfer"),
    *("style and composition", "strong style and composition"),
)
CONTROL_TYPES = (
    *("All", "Canny", "Depth", "IP-Adapter", "Inpaint", "Instant-ID", "InstructP2P", "Lineart", "MLSD"),
    *("NormalMap", "OpenPose", "Recolor", "Reference", "Revision", "Scribble", "Segmentation", "Shuffle"),
    *("SoftEdge", "SparseCtrl", "T2I-Adapter", "Tile"),
)

OLD_RESIZE_MODES = {
    "Inner Fit (Scale to Fit)": RESIZE_MODES[1],
    "Scale to Fit (Inner Fit)": RESIZE_MODES[1],
    "Outer Fit (Shrink to Fit)": RESIZE_MODES[2],
    "Envelope (Outer Fit)": RESIZE_MODES[2],
}
"""What the extension called them once."""


def _among(choices: tuple[str, ...], old: dict[str, str] | None = None) -> BeforeValidator:
    """A choice by its words, without regard to case, by an old name, or by its number."""
    words = {name.casefold(): name for name in choices} | {name.casefold(): new for name, new in (old or {}).items()}

    def read(value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
            return choices[value]
        if isinstance(value, str) and value.strip().casefold() in words:
            return words[value.strip().casefold()]
        said = ", ".join(f'"{name}"' for name in choices)
        raise ValueError(f"must be one of {said}")

    return BeforeValidator(read)


Weight = Annotated[Number, Ge(-10), Le(10)]


class ControlUnit(BaseModel):
    """One unit. `module` is the preprocessor and `model` the network's file, "None" for types that need none. `image`: what it goes by; in
    img2img the init picture if there is none; `images`: several of them, for `input_mode` "batch" (one after the other, picture by picture) or "merge" (together).
    `mask`: white where `image` is to be filled; `effective_region_mask`: white where the unit counts. -1 asks for the preprocessor's
    own resolution and thresholds. `batch_images`: a folder of the server whose
    pictures become `images`. `save_detected_map`: what the unit goes by is shown after the pictures. `advanced_weighting`: a factor for each place where the network acts, in its order, in place of
    `weight` and of what the mode makes of it; `weight_type` and `composition_weight` say such of image prompts by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    enabled: bool = Field(True, title="Enable")
    module: Text = Field(NO_MODULE, title="Preprocessor", max_length=200)
    model: Text = Field(NONE, title="Model", max_length=300)
    weight: Number = Field(1.0, title="Control Weight", ge=0, le=2)
    image: Picture | None = None
    images: tuple[Picture, ...] = Field((), max_length=500)
    mask: Picture | None = None
    effective_region_mask: Picture | None = None
    resize_mode: Annotated[str, _among(RESIZE_MODES, OLD_RESIZE_MODES)] = Field(RESIZE_MODES[1], title="Resize Mode")
    low_vram: bool = Field(False, title="Low VRAM")
    processor_res: Whole = Field(-1, title="Preprocessor resolution", ge=-1, le=8192)
    threshold_a: Number = Field(-1.0, title="Threshold A", ge=-1, le=4096)
    threshold_b: Number = Field(-1.0, title="Threshold B", ge=-1, le=4096)
    guidance_start: Number = Field(0.0, title="Starting Control Step", ge=0, le=1)
    guidance_end: Number = Field(1.0, title="Ending Control Step", ge=0, le=1)
    pixel_perfect: bool = Field(False, title="Pixel Perfect")
    control_mode: Annotated[str, _among(CONTROL_MODES)] = Field(CONTROL_MODES[0], title="Control Mode")
    inpaint_crop_input_image: bool = Field(True, title="Crop input image based on A1111 mask")
    hr_option: Annotated[str, _among(HIRES_OPTIONS)] = Field(HIRES_OPTIONS[0], title="Hires-Fix Option")
    union_control_type: Annotated[str, _among(UNION_TYPES)] = Field("Unknown", title="Union Control Type")
    advanced_weighting: tuple[Weight, ...] | None = Field(None, max_length=32)
    weight_type: Annotated[str, _among(WEIGHT_TYPES)] = Field("normal", title="Weight Type")
    composition_weight: Number = Field(1.0, title="Composition Weight", ge=0, le=2)
    input_mode: Literal["simple", "batch", "merge"] = "simple"
    batch_images: Text = Field("", max_length=4096)
    save_detected_map: bool = True

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.guidance_start > self.guidance_end:
            raise InputError(
                "guidance_start",
                f"guidance_start is {self.guidance_start} and guidance_end {self.guidance_end}: a unit cannot end before it starts. "
                "Make guidance_start the smaller one.",
            )
        return self

    @property
    def active(self) -> bool:
        """Does it do anything at all?"""
        idle = self.model.strip() in ("", NONE) and self.module.strip().casefold() in ("", NO_MODULE)
        return self.enabled and self.weight > 0 and not idle

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """What it goes by, as far as it says."""
        if self.input_mode == "simple" or not self.images:
            return (self.image,) if self.image else ()
        return self.images


class DetectRequest(BaseModel):
    """Pictures to be shown to a preprocessor, between two jobs; `masks` belong to them in their order."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    module: Text = Field(NO_MODULE, max_length=200)
    images: tuple[Picture, ...] = Field(min_length=1, max_length=64)
    masks: tuple[Picture | None, ...] = ()
    processor_res: Whole = Field(-1, ge=-1, le=8192)
    threshold_a: Number = -1.0
    threshold_b: Number = -1.0


def wrong_type(field: str, value: object) -> InputError:
    """What is said of a unit that is no object."""
    return InputError(field, f"{field} holds {short(value)} for a ControlNet unit: send an object of names and values.")
