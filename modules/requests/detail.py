"""The detail pass (what the ADetailer extension does): things found in a finished picture are drawn once more, each at full size."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from modules.core.errors import InputError
from modules.core.validation import Number, Text, Whole
from modules.requests.control import ControlUnit

MAX_UNITS = 10
NONE = "None"
PASSTHROUGH = "Passthrough"


class DetailUnit(BaseModel):
    """One pass, in ADetailer's names. `ad_model`: the detector; "None" is no pass. The prompts: empty is the picture's; [SEP] parts them
    for one thing after another, [SKIP] leaves that one as it is, [PROMPT] is the picture's. Ratios are of the picture's area, lengths
    in pixels. `ad_controlnet_model`: "Passthrough" is the picture's own units."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    ad_model: Text = Field(NONE, title="ADetailer model", max_length=300)
    ad_model_classes: Text = Field("", title="ADetailer model classes", max_length=1000)
    ad_tab_enable: bool = Field(True, title="ADetailer tab enable")
    ad_prompt: Text = Field("", title="ADetailer prompt", max_length=20_000)
    ad_negative_prompt: Text = Field("", title="ADetailer negative prompt", max_length=20_000)
    ad_confidence: Number = Field(0.3, title="ADetailer confidence", ge=0, le=1)
    ad_mask_filter_method: Literal["Area", "Confidence"] = Field("Area", title="ADetailer method to decide top k masks")
    ad_mask_k: Whole = Field(0, title="ADetailer mask only top k", ge=0, le=1000)
    ad_mask_min_ratio: Number = Field(0.0, title="ADetailer mask min ratio", ge=0, le=1)
    ad_mask_max_ratio: Number = Field(1.0, title="ADetailer mask max ratio", ge=0, le=1)
    ad_x_offset: Whole = Field(0, title="ADetailer x offset", ge=-1000, le=1000)
    ad_y_offset: Whole = Field(0, title="ADetailer y offset", ge=-1000, le=1000)
    ad_dilate_erode: Whole = Field(4, title="ADetailer dilate erode", ge=-512, le=512)
    ad_mask_merge_invert: Literal["None", "Merge", "Merge and Invert"] = Field(
        NONE, title="ADetailer mask merge invert"
    )
    ad_mask_blur: Whole = Field(4, title="ADetailer mask blur", ge=0, le=64)
    ad_denoising_strength: Number = Field(0.4, title="ADetailer denoising strength", ge=0, le=1)
    ad_inpaint_only_masked: bool = Field(True, title="ADetailer inpaint only masked")
    ad_inpaint_only_masked_padding: Whole = Field(32, title="ADetailer inpaint padding", ge=0, le=1024)
    ad_use_inpaint_width_height: bool = Field(False, title="ADetailer use inpaint width height")
    ad_inpaint_width: Whole = Field(512, title="ADetailer inpaint width", ge=64, le=4096, multiple_of=8)
    ad_inpaint_height: Whole = Field(512, title="ADetailer inpaint height", ge=64, le=4096, multiple_of=8)
    ad_use_steps: bool = Field(False, title="ADetailer use separate steps")
    ad_steps: Whole = Field(28, title="ADetailer steps", ge=1, le=150)
    ad_use_cfg_scale: bool = Field(False, title="ADetailer use separate CFG scale")
    ad_cfg_scale: Number = Field(7.0, title="ADetailer CFG scale", ge=0, le=100)
    ad_use_checkpoint: bool = Field(False, title="ADetailer use separate checkpoint")
    ad_checkpoint: Text | None = Field(None, title="ADetailer checkpoint", max_length=1000)
    ad_use_vae: bool = Field(False, title="ADetailer use separate VAE")
    ad_vae: Text | None = Field(None, title="ADetailer VAE", max_length=1000)
    ad_use_sampler: bool = Field(False, title="ADetailer use separate sampler")
    ad_sampler: Text = Field("DPM++ 2M", title="ADetailer sampler", max_length=100)
    ad_scheduler: Text = Field("Use same scheduler", title="ADetailer scheduler", max_length=100)
    ad_use_noise_multiplier: bool = Field(False, title="ADetailer use separate noise multiplier")
    ad_noise_multiplier: Number = Field(1.0, title="ADetailer noise multiplier", ge=0, le=4)
    ad_use_clip_skip: bool = Field(False, title="ADetailer use separate CLIP skip")
    ad_clip_skip: Whole = Field(1, title="ADetailer CLIP skip", ge=1, le=12)
    ad_restore_face: bool = Field(False, title="ADetailer restore face")
    ad_controlnet_model: Text = Field(NONE, title="ADetailer ControlNet model", max_length=300)
    ad_controlnet_module: Text = Field(NONE, title="ADetailer ControlNet module", max_length=200)
    ad_controlnet_weight: Number = Field(1.0, title="ADetailer ControlNet weight", ge=0, le=1)
    ad_controlnet_guidance_start: Number = Field(0.0, title="ADetailer ControlNet guidance start", ge=0, le=1)
    ad_controlnet_guidance_end: Number = Field(1.0, title="ADetailer ControlNet guidance end", ge=0, le=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        start, end = self.ad_controlnet_guidance_start, self.ad_controlnet_guidance_end
        if start > end:
            raise InputError(
                "ad_controlnet_guidance_start",
                f"ad_controlnet_guidance_start is {start} and ad_controlnet_guidance_end {end}: a ControlNet cannot end before it "
                "starts. Make the first one the smaller.",
            )
        return self

    def control(self, own: tuple[ControlUnit, ...]) -> tuple[ControlUnit, ...]:
        """The ControlNet of this pass, which goes by the part that is drawn again; `own`: the picture's, taken for "Passthrough"."""
        name = self.ad_controlnet_model.strip()
        if name == PASSTHROUGH:
            return own
        if name in ("", NONE):
            return ()
        unit = {
            "model": name,
            "module": self.ad_controlnet_module.strip() or NONE,
            "weight": self.ad_controlnet_weight,
            "guidance_start": self.ad_controlnet_guidance_start,
            "guidance_end": self.ad_controlnet_guidance_end,
        }
        return (ControlUnit.model_validate(unit),)

    @property
    def active(self) -> bool:
        """Does it do anything?"""
        return self.ad_tab_enable and self.ad_model.strip() not in ("", NONE)


ALWAYS = (
    *("ad_model", "ad_confidence", "ad_dilate_erode", "ad_mask_blur", "ad_denoising_strength"),
    *("ad_inpaint_only_masked", "ad_inpaint_only_masked_padding"),
)
"""What the infotext tells of a unit whatever its value."""


def told(units: tuple[DetailUnit, ...]) -> dict[str, Any]:
    """The infotext's fields of these units, as ADetailer writes them: the second one's keys end in " 2nd", and so on."""
    found: dict[str, Any] = {}
    for number, unit in enumerate((unit for unit in units if unit.active), start=1):
        for name, field in DetailUnit.model_fields.items():
            value = getattr(unit, name)
            if name in ALWAYS or value != field.default:
                found[f"{field.title}{suffix(number)}"] = value
    return found


def read_told(fields: Mapping[str, str]) -> list[dict[str, str]]:
    """The units' values in an infotext's fields."""
    return [values for number in range(1, MAX_UNITS + 1) if (values := dict(_read(fields, suffix(number))))]


def told_keys() -> Iterator[str]:
    """All keys that `told` may write."""
    for number in range(1, MAX_UNITS + 1):
        yield from (f"{field.title}{suffix(number)}" for field in DetailUnit.model_fields.values())


def _read(fields: Mapping[str, str], end: str) -> Iterator[tuple[str, str]]:
    for name, field in DetailUnit.model_fields.items():
        if (key := f"{field.title}{end}") in fields:
            yield name, fields[key]


def suffix(number: int) -> str:
    """What the keys of that unit, counted from 1, end in."""
    if number == 1:
        return ""
    ending = {2: "nd", 3: "rd"}.get(number, "th")
    return f" {number}{ending}"
