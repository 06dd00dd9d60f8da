"""Request bodies of `/sdapi/v1`, in A1111's names and with its defaults."""

import json
import math
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from typing_extensions import Self

from modules.api.always_on import read_scripts
from modules.api.control import read_units
from modules.api.encoded import decode_base64
from modules.core.errors import InputError, short
from modules.core.validation import Number, Text, Whole
from modules.images.reading import take_picture
from modules.requests.guidance import TECHNIQUES
from modules.requests.hires import STEP
from modules.requests.txt2img import Txt2ImgRequest, make_request

MAX_DEPTH = 32
HIRES = (
    *(
        "enable_hr",
        "denoising_strength",
        "hr_scale",
        "hr_upscaler",
        "hr_second_pass_steps",
        "hr_resize_x",
        "hr_resize_y",
    ),
    *("hr_checkpoint_name", "hr_sampler_name", "hr_scheduler", "hr_prompt", "hr_negative_prompt"),
    *("hr_cfg", "hr_distilled_cfg"),
)


class Body(BaseModel):
    """A JSON object that can be sent back: no NaN, no broken text, not nested without end. Unknown fields are ignored, as in A1111."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _clean(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for name, value in values.items():
                check_plain(str(name), value)
        return values


def check_plain(field: str, value: Any) -> None:
    """Raise InputError unless `value` (parsed JSON) can be written as JSON again."""
    pending = [(value, 1)]
    while pending:
        found, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise InputError(field, f"{short(field)} is nested more than {MAX_DEPTH} deep. Send it flatter.")
        if isinstance(found, float) and not math.isfinite(found):
            raise InputError(field, f"{short(field)} holds {found}: it must be a finite number.")
        if isinstance(found, str) and any("\ud800" <= c <= "\udfff" for c in found):
            raise InputError(field, f"{short(field)} holds half of a surrogate pair, which is not text. Remove it.")
        if isinstance(found, dict):
            pending.extend((part, depth + 1) for pair in found.items() for part in pair)
        elif isinstance(found, list):
            pending.extend((part, depth + 1) for part in found)


# Fields of features that this version does not have: the values that mean "without it", and the feature's name.
# Their helpers (hr_scale, refiner_switch_at ...) have no effect alone, in A1111 neither, and are accepted at any value.
NOT_YET: dict[str, tuple[tuple[Any, ...], str]] = {
    "override_settings_restore_afterwards": (
        (None, True),
        "keeping override_settings is (POST them to /sdapi/v1/options for that)",
    ),
    "infotext": ((None, ""), "infotext as a request is"),
}


class GenerationBody(Body):
    """What bodies that draw from a prompt have in common. Limits and their sentences are the request's own."""

    prompt: Text = ""
    negative_prompt: Text = ""
    sampler_name: Text | None = None
    sampler_index: Text = "Euler"
    scheduler: Text | None = None
    steps: Whole = 50
    cfg_scale: Number = 7.0
    width: Whole = 512
    height: Whole = 512
    n_iter: Whole = 1
    batch_size: Whole = 1
    seed: Whole = -1
    eta: Number | None = None
    override_settings: dict[Text, Any] | None = None
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    disable_extra_networks: bool = False
    send_images: bool = True
    save_images: bool = False
    force_task_id: Text | None = None
    comments: dict[str, Any] | None = None

    styles: list[Text] | None = None
    subseed: Whole = -1
    subseed_strength: Number = 0
    seed_resize_from_h: Whole = -1
    seed_resize_from_w: Whole = -1
    restore_faces: bool | None = None
    tiling: bool | None = None
    denoising_strength: Number | None = None
    s_min_uncond: Number | None = None
    s_churn: Number | None = None
    s_tmax: Number | None = None
    s_tmin: Number | None = None
    s_noise: Number | None = None
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: Text | None = None
    refiner_switch_at: Number | None = None
    script_name: Text | None = None
    script_args: list[Any] = []
    alwayson_scripts: dict[str, Any] | None = {}
    infotext: Text | None = None

    cfg_rescale: Number = 0.0
    distilled_cfg_scale: Number = 3.5
    freeu: dict[str, Any] | None = None
    self_attention_guidance: dict[str, Any] | None = None
    perturbed_attention_guidance: dict[str, Any] | None = None
    dynamic_thresholding: dict[str, Any] | None = None
    deep_cache: dict[str, Any] | None = None
    first_block_cache: dict[str, Any] | None = None
    tiled_diffusion: dict[str, Any] | None = None
    detail: list[dict[str, Any]] = []
    control: list[Any] = []
    dynamic_prompts: bool = True
    dp_combinatorial: bool = False
    dp_max_generations: Whole = 0
    dp_combinatorial_batches: Whole = 1
    dp_fixed_seed: bool = False
    dp_unlink_seed: bool = False

    def repeated(self) -> Self:
        """What an answer repeats of it."""
        return self

    def values(self, *, img2img: bool = False) -> dict[str, Any]:
        """What it says, in a request's fields; raises InputError for a feature that is not there."""
        for field, (neutral, feature) in NOT_YET.items():
            value = getattr(self, field, neutral[0])
            if value not in neutral:
                said = short(json.dumps(value, ensure_ascii=False))
                raise InputError(field, f"{field} is {said}: {feature} not part of this version; leave it out.")
        same = (
            *("prompt", "negative_prompt", "steps", "cfg_scale", "width", "height", "n_iter", "batch_size", "seed"),
            *("subseed", "subseed_strength", "seed_resize_from_w", "seed_resize_from_h"),
            "refiner_checkpoint",
            *("eta", "s_churn", "s_tmin", "s_tmax", "s_noise", "s_min_uncond"),
            *("tiling", "restore_faces", "cfg_rescale", "distilled_cfg_scale", "detail", *TECHNIQUES),
            *("script_name", "script_args", "do_not_save_grid", "styles"),
            *("dynamic_prompts", "dp_combinatorial", "dp_max_generations", "dp_combinatorial_batches", "dp_fixed_seed"),
            "dp_unlink_seed",
        )
        return {
            **{name: getattr(self, name) for name in same},
            **read_units("control", self.control),
            **read_scripts(self.alwayson_scripts or {}, img2img=img2img),
            "sampler_name": self.sampler_name or self.sampler_index,
            "scheduler": self.scheduler or "Automatic",
            "refiner_switch_at": self.refiner_switch_at if self.refiner_checkpoint else None,
            "save_images": self.save_images and not self.do_not_save_samples,
            "override_settings": dict(self.override_settings or {}),
        }


class Txt2ImgBody(GenerationBody):
    """`POST /sdapi/v1/txt2img`."""

    firstpass_image: Text | None = None
    enable_hr: bool = False
    firstphase_width: Whole = 0
    firstphase_height: Whole = 0
    hr_scale: Number = 2.0
    hr_upscaler: Text | None = None
    hr_second_pass_steps: Whole = 0
    hr_resize_x: Whole = 0
    hr_resize_y: Whole = 0
    hr_checkpoint_name: Text | None = None
    hr_sampler_name: Text | None = None
    hr_scheduler: Text | None = None
    hr_prompt: Text = ""
    hr_negative_prompt: Text = ""
    hr_cfg: Number | None = None
    hr_distilled_cfg: Number | None = None

    def to_request(self) -> Txt2ImgRequest:
        """The request; raises InputError for a wrong value and for a feature that is not there."""
        return make_request({**self.values(), **self._hires()})

    def _hires(self) -> dict[str, Any]:
        """The values of hires fix, which count only where it is enabled, as in A1111; it has no default denoising strength, the
        page's stands for it. `firstphase_*`: old names of the first pass's size, width and height being the second's."""
        if not self.enable_hr:
            return {}
        found = {name: getattr(self, name) for name in HIRES if getattr(self, name) is not None}
        if self.firstpass_image:
            data = decode_base64("firstpass_image", self.firstpass_image)
            found["firstpass_image"] = take_picture("firstpass_image", data)
        width, height = self.firstphase_width, self.firstphase_height
        if width or height:
            found |= {"hr_resize_x": self.width, "hr_resize_y": self.height}
            found["width"] = width or in_steps(height * self.width / max(self.height, 1))
            found["height"] = height or in_steps(width * self.height / max(self.width, 1))
        return found


def in_steps(side: float) -> int:
    """The multiple of STEP pixels nearest to it, at least one."""
    return max(round(side / STEP), 1) * STEP


class PngInfoBody(Body):
    """`POST /sdapi/v1/png-info`: a picture file in base64, bare or as a data URL."""

    image: Text
