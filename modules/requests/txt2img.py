"""Text to image: the request behind one press of Generate."""

from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import Field, ValidationError, field_validator, model_validator
from typing_extensions import Self

from modules.core.errors import InputError
from modules.core.validation import Number, Text, Whole, input_error
from modules.requests.generation import MAX_BATCH_PIXELS, MAX_SIDE, GenerationRequest
from modules.requests.hires import Target, target_of
from modules.requests.pictures import Picture

SAME = {
    "hr_checkpoint_name": "Use same checkpoint",
    "hr_sampler_name": "Use same sampler",
    "hr_scheduler": "Use same scheduler",
}
"""What users choose for a second pass that takes this of the first."""

MIN_SIDE = 64

HiresSide = Annotated[Whole, Ge(0), Le(MAX_SIDE)]


class Txt2ImgRequest(GenerationRequest):
    """Text to image. With `enable_hr` (hires fix) the picture is drawn, enlarged and drawn on.

    `hr_scale`: by how much, unless `hr_resize_x`, `hr_resize_y` say to what size (0: from the other, by the first pass's shape; with both
    given what stands over is cut off). `hr_upscaler`: one of the latent modes or of the upscalers. `hr_second_pass_steps`: 0 is
    `steps`. `hr_cfg`, `hr_distilled_cfg`: None is that of the first pass. `firstpass_image`: an earlier picture of these settings to
    enlarge instead of drawing one.
    """

    enable_hr: bool = False
    denoising_strength: Number = Field(0.7, ge=0, le=1)
    hr_scale: Number = Field(2.0, ge=1, le=8)
    hr_upscaler: Text = Field("Latent", max_length=300)
    hr_second_pass_steps: Whole = Field(0, ge=0, le=150)
    hr_resize_x: HiresSide = 0
    hr_resize_y: HiresSide = 0
    hr_checkpoint_name: Text | None = Field(None, max_length=1000)
    hr_sampler_name: Text | None = Field(None, max_length=100)
    hr_scheduler: Text | None = Field(None, max_length=100)
    hr_prompt: Text = Field("", max_length=20_000)
    hr_negative_prompt: Text = Field("", max_length=20_000)
    hr_cfg: Number | None = Field(None, ge=0, le=100)
    hr_distilled_cfg: Number | None = Field(None, ge=0, le=30)
    firstpass_image: Picture | None = None

    @field_validator(*SAME)
    @classmethod
    def _own(cls, name: str | None, info: Any) -> str | None:
        return None if name is None or name.strip() in ("", "None", SAME[info.field_name]) else name

    @property
    def target(self) -> Target:
        """The size that hires fix enlarges to."""
        return target_of(
            width=self.width,
            height=self.height,
            scale=self.hr_scale,
            resize_x=self.hr_resize_x,
            resize_y=self.hr_resize_y,
        )

    @model_validator(mode="after")
    def _enlarges(self) -> Self:
        if not self.enable_hr:
            return self
        field = "hr_resize_x" if self.hr_resize_x else "hr_resize_y" if self.hr_resize_y else "hr_scale"
        width, height = self.target.final()
        to = f"{field} is {getattr(self, field)}: hires fix would enlarge {self.width} x {self.height} to {width} x {height} pixels"
        if min(width, height) < MIN_SIDE:
            raise InputError(field, f"{to}; each side must be {MIN_SIDE} or more. Choose a larger one.")
        covered = self.target.width * self.target.height * self.batch_size
        if max(self.target.width, self.target.height) > MAX_SIDE or covered > MAX_BATCH_PIXELS:
            raise InputError(
                field,
                f"{to}; no side may be above {MAX_SIDE}, and all pictures of a batch together "
                f"{MAX_BATCH_PIXELS / 1e6:.0f} megapixels at most. Choose a smaller one.",
            )
        return self


def make_request(values: dict[str, Any]) -> Txt2ImgRequest:
    """A request from loose values; raises InputError naming the first wrong one."""
    try:
        return Txt2ImgRequest.model_validate(values)
    except ValidationError as error:
        raise input_error(error) from error
