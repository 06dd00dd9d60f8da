"""What requests that draw from a prompt have in common."""

from typing import Annotated, Any

from annotated_types import Ge, Le, MaxLen, MultipleOf
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import Self

from modules.core.errors import InputError
from modules.core.validation import Number, Text, Whole
from modules.requests.control import MAX_UNITS as MAX_CONTROL
from modules.requests.control import ControlUnit
from modules.requests.detail import MAX_UNITS, DetailUnit
from modules.requests.guidance import (
    DeepCache,
    DynamicThresholding,
    FirstBlockCache,
    FreeU,
    PerturbedAttentionGuidance,
    SelfAttentionGuidance,
)
from modules.requests.scripts import is_none
from modules.requests.tiled import TiledDiffusion

PAGE_SIDE = 2048
MAX_SIDE = 16_384
MAX_BATCH_PIXELS = MAX_SIDE**2
"""More than any machine has memory for; how much of it fits is found out where the model is."""

MAX_SEED = 2**63 - 1
MAX_PROMPT = 20_000

Side = Annotated[Whole, Ge(64), Le(MAX_SIDE), MultipleOf(8)]


class GenerationRequest(BaseModel):
    """In A1111's API names. Sizes are in pixels; `seed` -1 asks for a random one.

    `subseed`: the variation seed, mixed in by `subseed_strength`; -1 is drawn from the seed. `seed_resize_from_*`: 0 or less
    is off. `eta` to `s_min_uncond`, `tiling`, `restore_faces`: None leaves the setting. `cfg_rescale`: phi, 0 is off.
    `control`: ControlNet units. `detail`: passes over the finished pictures. `distilled_cfg_scale`: what a network distilled from guidance is told; others know nothing of it.
    `refiner_checkpoint`: takes over where `refiner_switch_at` of the noise is gone (None: from the beginning); "" and "None"
    are none. `styles`: names, or one text of them with commas. `dynamic_prompts`: templates in prompts are filled in, with `dp_*` in every combination (at most so many,
    `dp_combinatorial_batches` times over), with one seed for all pictures, with prompts that do not follow the seed. `script_name`: None or the script that draws instead, with `script_args` in A1111's order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: Text = Field("", max_length=MAX_PROMPT)
    negative_prompt: Text = Field("", max_length=MAX_PROMPT)
    sampler_name: Text = Field("DPM++ 2M", max_length=100)
    scheduler: Text = Field("Automatic", max_length=100)
    steps: Whole = Field(20, ge=1, le=150)
    cfg_scale: Number = Field(7.0, ge=0, le=100)
    distilled_cfg_scale: Number = Field(3.5, ge=0, le=30)
    width: Side = 512
    height: Side = 512
    n_iter: Whole = Field(1, ge=1, le=1000)
    batch_size: Whole = Field(1, ge=1, le=64)
    seed: Whole = Field(-1, ge=-1, le=MAX_SEED)
    subseed: Whole = Field(-1, ge=-1, le=MAX_SEED)
    subseed_strength: Number = Field(0.0, ge=0, le=1)
    seed_resize_from_w: Whole = Field(-1, ge=-1, le=MAX_SIDE)
    seed_resize_from_h: Whole = Field(-1, ge=-1, le=MAX_SIDE)
    eta: Number | None = Field(None, ge=0, le=1)
    s_churn: Number | None = Field(None, ge=0, le=100)
    s_tmin: Number | None = Field(None, ge=0, le=1000)
    s_tmax: Number | None = Field(None, ge=0, le=1000)
    s_noise: Number | None = Field(None, ge=0, le=2)
    s_min_uncond: Number | None = Field(None, ge=0, le=1000)
    tiling: bool | None = None
    restore_faces: bool | None = None
    cfg_rescale: Number = Field(0.0, ge=0, le=1)
    freeu: FreeU | None = None
    self_attention_guidance: SelfAttentionGuidance | None = None
    perturbed_attention_guidance: PerturbedAttentionGuidance | None = None
    dynamic_thresholding: DynamicThresholding | None = None
    deep_cache: DeepCache | None = None
    first_block_cache: FirstBlockCache | None = None
    tiled_diffusion: TiledDiffusion | None = None
    control: tuple[ControlUnit, ...] = Field((), max_length=MAX_CONTROL)
    detail: tuple[DetailUnit, ...] = Field((), max_length=MAX_UNITS)
    refiner_checkpoint: Text | None = Field(None, max_length=1000)
    refiner_switch_at: Number | None = Field(None, ge=0, le=1)
    styles: tuple[Annotated[Text, MaxLen(200)], ...] = Field((), max_length=100)
    dynamic_prompts: bool = True
    dp_combinatorial: bool = False
    dp_max_generations: Whole = Field(0, ge=0, le=1000)
    dp_combinatorial_batches: Whole = Field(1, ge=1, le=10)
    dp_fixed_seed: bool = False
    dp_unlink_seed: bool = False
    script_name: Text | None = Field(None, max_length=200)
    script_args: tuple[Any, ...] = Field((), max_length=100)
    save_images: bool = True
    do_not_save_grid: bool = False
    override_settings: dict[Text, Any] = Field(default_factory=dict, max_length=200)

    @field_validator("refiner_checkpoint")
    @classmethod
    def _named(cls, name: str | None) -> str | None:
        return None if name is None or name.strip() in ("", "None") else name

    @field_validator("styles", mode="before")
    @classmethod
    def _parted(cls, names: Any) -> Any:
        if isinstance(names, str):
            return tuple(name.strip() for name in names.split(",") if name.strip())
        return () if names is None else names

    @field_validator("script_name")
    @classmethod
    def _scripted(cls, name: str | None) -> str | None:
        return None if is_none(name) else name

    @model_validator(mode="after")
    def _fits(self) -> Self:
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

    def seed_of(self, first: int, position: int) -> int:
        """The seed of the picture at that position, from the first one's; variations and a fixed seed leave it as it is."""
        if self.dp_fixed_seed and self.dp_combinatorial:
            return first + position // max(self.count // self.dp_combinatorial_batches, 1)
        return first if self.subseed_strength or self.dp_fixed_seed else first + position

    def subseed_of(self, first: int, position: int) -> int:
        """The same of variation seeds."""
        return first if self.dp_fixed_seed else first + position


def limits(field: str, request: type[BaseModel] = GenerationRequest) -> dict[str, float]:
    """The bounds of a request's numeric field by the names minimum, maximum, step; what is unbounded is absent."""
    names = {"ge": "minimum", "le": "maximum", "multiple_of": "step"}
    found = {}
    for constraint in request.model_fields[field].metadata:
        for attribute, name in names.items():
            if getattr(constraint, attribute, None) is not None:
                found[name] = getattr(constraint, attribute)
    return found
