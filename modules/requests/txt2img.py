"""The request behind one press of Generate."""

from typing import Annotated, Any

from annotated_types import Ge, Le, MultipleOf
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from modules.core.errors import InputError
from modules.core.validation import Number, Text, Whole, input_error
from modules.requests.guidance import DynamicThresholding, FreeU, PerturbedAttentionGuidance, SelfAttentionGuidance

MAX_BATCH_PIXELS = 2048 * 2048 * 8
MAX_SEED = 2**63 - 1

Side = Annotated[Whole, Ge(64), Le(2048), MultipleOf(8)]


class Txt2ImgRequest(BaseModel):
    """Text to image, in A1111's API names. Sizes are in pixels; `seed` -1 asks for a random one.

    `subseed`: the variation seed, mixed in by `subseed_strength`; -1 is drawn from the seed. `seed_resize_from_*`: 0 or less
    is off. `eta` to `s_min_uncond` and `tiling`: None leaves the setting of that name. `cfg_rescale`: phi, 0 is off.
    `refiner_checkpoint`: takes over where `refiner_switch_at` of the noise is gone (None: from the beginning); "" and "None"
    are none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: Text = Field("", max_length=20_000)
    negative_prompt: Text = Field("", max_length=20_000)
    sampler_name: Text = Field("DPM++ 2M", max_length=100)
    scheduler: Text = Field("Automatic", max_length=100)
    steps: Whole = Field(20, ge=1, le=150)
    cfg_scale: Number = Field(7.0, ge=0, le=100)
    width: Side = 512
    height: Side = 512
    n_iter: Whole = Field(1, ge=1, le=1000)
    batch_size: Whole = Field(1, ge=1, le=64)
    seed: Whole = Field(-1, ge=-1, le=MAX_SEED)
    subseed: Whole = Field(-1, ge=-1, le=MAX_SEED)
    subseed_strength: Number = Field(0.0, ge=0, le=1)
    seed_resize_from_w: Whole = Field(-1, ge=-1, le=2048)
    seed_resize_from_h: Whole = Field(-1, ge=-1, le=2048)
    eta: Number | None = Field(None, ge=0, le=1)
    s_churn: Number | None = Field(None, ge=0, le=100)
    s_tmin: Number | None = Field(None, ge=0, le=1000)
    s_tmax: Number | None = Field(None, ge=0, le=1000)
    s_noise: Number | None = Field(None, ge=0, le=2)
    s_min_uncond: Number | None = Field(None, ge=0, le=1000)
    tiling: bool | None = None
    cfg_rescale: Number = Field(0.0, ge=0, le=1)
    freeu: FreeU | None = None
    self_attention_guidance: SelfAttentionGuidance | None = None
    perturbed_attention_guidance: PerturbedAttentionGuidance | None = None
    dynamic_thresholding: DynamicThresholding | None = None
    refiner_checkpoint: Text | None = Field(None, max_length=1000)
    refiner_switch_at: Number | None = Field(None, ge=0, le=1)
    save_images: bool = True
    override_settings: dict[Text, Any] = Field(default_factory=dict, max_length=200)

    @field_validator("refiner_checkpoint")
    @classmethod
    def _named(cls, name: str | None) -> str | None:
        return None if name is None or name.strip() in ("", "None") else name

    @model_validator(mode="after")
    def _fits(self) -> "Txt2ImgRequest":
        pixels = self.width * self.height * self.batch_size
        if pixels > MAX_BATCH_PIXELS:
            raise InputError(
                "batch_size",
                f"width x height x batch_size is {self.width} x {self.height} x {self.batch_size} = {pixels / 1e6:.1f} megapixels: "
                f"at most {MAX_BATCH_PIXELS / 1e6:.1f} fit one batch. Make the batch or the picture smaller and raise n_iter instead.",
            )
        if self.seed + self.count - 1 > MAX_SEED:
            raise InputError(
                "seed",
                f"seed is {self.seed} for {self.count} pictures: the last one's would be above {MAX_SEED}. Use a smaller one.",
            )
        return self

    @property
    def count(self) -> int:
        """How many pictures are asked for."""
        return self.n_iter * self.batch_size


def make_request(values: dict[str, Any]) -> Txt2ImgRequest:
    """A request from loose values; raises InputError naming the first wrong one."""
    try:
        return Txt2ImgRequest.model_validate(values)
    except ValidationError as error:
        raise input_error(error) from error


def limits(field: str) -> dict[str, float]:
    """The bounds of a numeric field by the names minimum, maximum, step; what is unbounded is absent."""
    names = {"ge": "minimum", "le": "maximum", "multiple_of": "step"}
    found = {}
    for constraint in Txt2ImgRequest.model_fields[field].metadata:
        for attribute, name in names.items():
            if getattr(constraint, attribute, None) is not None:
                found[name] = getattr(constraint, attribute)
    return found
