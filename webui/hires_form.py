"""The fields of hires fix as txt2img's form has them. Knows nothing of gradio."""

from collections.abc import Callable, Mapping
from typing import Any

from modules.images.infotext import Infotext, to_request_values
from modules.requests.hires import LATENT_MODES, latent_mode
from modules.requests.txt2img import SAME, Txt2ImgRequest, make_request

LABELS = {
    "enable_hr": "Hires. fix",
    "hr_upscaler": "Upscaler",
    "hr_second_pass_steps": "Hires steps",
    "denoising_strength": "Denoising strength",
    "hr_scale": "Upscale by",
    "hr_resize_x": "Resize width to",
    "hr_resize_y": "Resize height to",
    "hr_checkpoint_name": "Checkpoint",
    "hr_sampler_name": "Hires sampling method",
    "hr_scheduler": "Hires schedule type",
    "hr_cfg": "Hires CFG Scale",
    "hr_distilled_cfg": "Hires Distilled CFG Scale",
    "hr_prompt": "Hires prompt",
    "hr_negative_prompt": "Hires negative prompt",
}
NAMES = tuple(LABELS)
AS_BEFORE = ("hr_cfg", "hr_distilled_cfg")
"""Values whose 0 on the page is the first pass's: A1111 and Forge have no None on a slider."""

STARTS: dict[str, Any] = {**SAME, **dict.fromkeys(AS_BEFORE, 0)}
SAMPLING = ("hr_checkpoint_name", "hr_sampler_name", "hr_scheduler", *AS_BEFORE)
PROMPTS = ("hr_prompt", "hr_negative_prompt")
"""What is seen if a setting says so, or if it says something."""

ELSEWHERE = ("enable_hr", "denoising_strength", "hr_scale")
"""What an infotext of hires fix always tells, or what has no effect beside what it tells."""


def make(values: dict[str, Any]) -> Txt2ImgRequest:
    """The request; raises InputError."""
    return make_request({name: None if name in AS_BEFORE and value == 0 else value for name, value in values.items()})


def _check(name: str) -> Callable[[Any], Any]:
    """What finds the value of a field as it may be shown; it raises InputError."""

    def check(value: Any) -> Any:
        found = getattr(make({name: value}), name)
        if name == "hr_upscaler":
            return latent_mode(found) or found
        return STARTS[name] if found is None and name in STARTS else found

    return check


CHECKS: Mapping[str, Callable[[Any], Any]] = {name: _check(name) for name in NAMES}


def read(text: Infotext) -> dict[str, Any]:
    """An infotext's values: of hires fix all of them, those that it does not tell being none of their own."""
    found = {"enable_hr": False, **to_request_values(text)}
    if not found["enable_hr"]:
        return found
    plain = make_request({})
    silent = {name: STARTS.get(name, getattr(plain, name)) for name in NAMES if name not in ELSEWHERE}
    return {**silent, **found}


def upscaler_choices(upscalers: tuple[str, ...]) -> list[str]:
    """What a picture can be enlarged with, in A1111's order."""
    return [*LATENT_MODES, *upscalers]
