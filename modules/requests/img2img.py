"""Image to image and inpainting."""

from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modules.core.validation import Number, Text, Whole, input_error
from modules.requests.generation import GenerationRequest
from modules.requests.pictures import Picture

RESIZE_MODES = ("Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)")
MASKED_CONTENT = ("fill", "original", "latent noise", "latent nothing")
MASK_MODES = ("Inpaint masked", "Inpaint not masked")
INPAINT_AREAS = ("Whole picture", "Only masked")
"""Users' words for the numbers 0, 1 ... of `resize_mode`, `inpainting_fill`, `inpainting_mask_invert`, `inpaint_full_res`."""

Blur = Annotated[Whole, Ge(0), Le(256)]
Switch = Annotated[Whole, Ge(0), Le(1)]


class SoftInpainting(BaseModel):
    """A1111's soft inpainting: the mask's greys say how much of a place may change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mask_blend_power: Number = Field(1.0, ge=0, le=8)
    mask_blend_scale: Number = Field(0.5, ge=0, le=8)
    inpaint_detail_preservation: Number = Field(4.0, ge=1, le=32)
    composite_mask_influence: Number = Field(0.0, ge=0, le=1)
    composite_difference_threshold: Number = Field(0.5, ge=0, le=8)
    composite_difference_contrast: Number = Field(2.0, ge=0, le=8)


class Inversion(BaseModel):
    """Noise that the model would draw the picture from, found by walking from it towards noise in so many `steps`, guided by these
    prompts. `adjusted`: each step asks the model at the level it comes from. `randomness`: how much of the seed's own noise is in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: Text = Field("", max_length=20_000)
    negative_prompt: Text = Field("", max_length=20_000)
    steps: Whole = Field(50, ge=1, le=150)
    cfg_scale: Number = Field(1.0, ge=0, le=15)
    randomness: Number = Field(0.0, ge=0, le=1)
    adjusted: bool = False


class Img2ImgRequest(GenerationRequest):
    """Draws on from pictures, in A1111's API names; where there is a `mask`, only where it is white.

    `init_images`: all of one batch, or one for all. `resize_mode`, `inpainting_fill` (masked content), `inpainting_mask_invert` and
    `inpaint_full_res` (1: only masked) are numbers as in A1111. `image_cfg_scale`: of InstructPix2Pix. `mask_round` False keeps greys of the mask.
    `inversion`: what drawing begins with instead of the seed's noise. `latent_mask`: a mask of what changes that differs from what is pasted back. `initial_noise_multiplier`: None leaves the setting.
    `match_seams`: what is drawn is shifted in colour so that it meets what stays without a step. `colours_of`: the picture that colour
    correction goes by, instead of each init image. `include_init_images`: the answer repeats them (API). `detail_only`: they go into the
    detail pass as they are.
    """

    init_images: tuple[Picture, ...] = Field(min_length=1, max_length=64)
    resize_mode: Whole = Field(0, ge=0, le=3)
    denoising_strength: Number = Field(0.75, ge=0, le=1)
    image_cfg_scale: Number | None = Field(None, ge=0, le=24)
    mask: Picture | None = None
    latent_mask: Picture | None = None
    mask_blur_x: Blur = 4
    mask_blur_y: Blur = 4
    mask_round: bool = True
    inpainting_fill: Whole = Field(0, ge=0, le=3)
    inpaint_full_res: Switch = 1
    inpaint_full_res_padding: Whole = Field(0, ge=0, le=1024)
    inpainting_mask_invert: Switch = 0
    initial_noise_multiplier: Number | None = Field(None, ge=0, le=4)
    soft_inpainting: SoftInpainting | None = None
    inversion: Inversion | None = None
    match_seams: bool = False
    colours_of: Picture | None = None
    include_init_images: bool = False
    detail_only: bool = False


def make_img2img_request(values: dict[str, Any]) -> Img2ImgRequest:
    """A request from loose values; raises InputError naming the first wrong one."""
    try:
        return Img2ImgRequest.model_validate(values)
    except ValidationError as error:
        raise input_error(error) from error
