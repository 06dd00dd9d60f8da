"""The img2img tab's own fields: how they begin, what they may be, and the request that they make."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modules.core.errors import InputError, short
from modules.images.infotext import Infotext
from modules.images.inpainting_infotext import to_img2img_values
from modules.requests.generation import GenerationRequest
from modules.requests.img2img import (
    INPAINT_AREAS,
    MASK_MODES,
    MASKED_CONTENT,
    RESIZE_MODES,
    Img2ImgRequest,
    SoftInpainting,
    make_img2img_request,
)
from modules.requests.pictures import Picture
from webui import seed_form
from webui.detail_form import LABELS as DETAIL_LABELS
from webui.detail_form import ONLY, UNIT_CHECKS, UNIT_STARTS, UNITS
from webui.form import CHECKS, FIELDS, FLAT, MODULES, STARTS, Form

RESIZE_TO, RESIZE_BY = "Resize to", "Resize by"
UPLOAD, DIRECTORY = "Upload", "From directory"
PNG_INFO = ("Prompt", "Negative prompt", "Seed", "CFG scale", "Sampler", "Steps", "Model hash")
NOTHING = Picture(sha256="0" * 64, data=b"")  # in place of the picture where only the other values are looked at


@dataclass(frozen=True, kw_only=True)
class Own:
    """A field of this tab alone. `check`: any value, from a browser or a file, as the page may show it; raises InputError."""

    label: str
    start: Any
    check: Callable[[str, Any], Any]


def among(*choices: str) -> Callable[[str, Any], str]:
    """One of those, by its word or its number."""

    def check(name: str, value: Any) -> str:
        if isinstance(value, str) and value in choices:
            return value
        if isinstance(value, int) and 0 <= value < len(choices):
            return choices[value]
        raise InputError(name, f"{name} is {short(value)}: it must be one of {', '.join(choices)}.")

    return check


def between(low: float, high: float, *, whole: bool = False) -> Callable[[str, Any], float]:
    """A number of that range."""

    def check(name: str, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise InputError(name, f"{name} is {short(value)}: it must be a number.") from error
        if not low <= number <= high or whole and number != int(number):
            kind = "whole number" if whole else "number"
            raise InputError(name, f"{name} is {short(value)}: it must be a {kind} from {low} to {high}.")
        return int(number) if whole else number

    return check


def switch(name: str, value: Any) -> bool:
    """On or off."""
    if not isinstance(value, bool):
        raise InputError(name, f"{name} is {short(value)}: it must be true or false.")
    return value


def words(name: str, value: Any) -> str:
    """A line of text, such as a folder's path."""
    if not isinstance(value, str) or len(value) > 1000 or "\0" in value:
        raise InputError(name, f"{name} is {short(value)}: it must be a text of at most 1000 characters.")
    return value


def several(*choices: str) -> Callable[[str, Any], list[str]]:
    """Some of those."""
    one = among(*choices)

    def check(name: str, value: Any) -> list[str]:
        if not isinstance(value, list):
            raise InputError(name, f"{name} is {short(value)}: it must be a list.")
        return [one(name, part) for part in value]

    return check


SOFT = {
    "mask_blend_power": ("Schedule bias", 8, 0.1),
    "mask_blend_scale": ("Preservation strength", 8, 0.05),
    "inpaint_detail_preservation": ("Transition contrast boost", 32, 0.5),
    "composite_mask_influence": ("Mask influence", 1, 0.05),
    "composite_difference_threshold": ("Difference threshold", 8, 0.25),
    "composite_difference_contrast": ("Difference contrast", 8, 0.25),
}
"""Field of SoftInpainting -> A1111's label, the largest value, the step of its slider."""

_soft = SoftInpainting.model_validate({})
OWN: Mapping[str, Own] = {
    "resize_mode": Own(label="Resize mode", start=RESIZE_MODES[0], check=among(*RESIZE_MODES)),
    "resize_by": Own(label="Size", start=RESIZE_TO, check=among(RESIZE_TO, RESIZE_BY)),
    "scale": Own(label="Scale", start=1.0, check=between(0.05, 4)),
    "image_cfg_scale": Own(label="Image CFG Scale", start=1.5, check=between(0, 24)),
    "mask_blur": Own(label="Mask blur", start=4, check=between(0, 64, whole=True)),
    "mask_alpha": Own(label="Mask transparency", start=0, check=between(0, 100)),
    "inpainting_mask_invert": Own(label="Mask mode", start=MASK_MODES[0], check=among(*MASK_MODES)),
    "inpainting_fill": Own(label="Masked content", start=MASKED_CONTENT[1], check=among(*MASKED_CONTENT)),
    "inpaint_full_res": Own(label="Inpaint area", start=INPAINT_AREAS[0], check=among(*INPAINT_AREAS)),
    "inpaint_full_res_padding": Own(label="Only masked padding, pixels", start=32, check=between(0, 1024, whole=True)),
    "soft_inpainting": Own(label="Soft inpainting", start=False, check=switch),
    **{
        name: Own(label=label, start=getattr(_soft, name), check=between(name == "inpaint_detail_preservation", most))
        for name, (label, most, _) in SOFT.items()
    },
    ONLY: Own(label=DETAIL_LABELS[ONLY], start=False, check=switch),
    "batch_source": Own(label="Pictures", start=UPLOAD, check=among(UPLOAD, DIRECTORY)),
    "batch_input_dir": Own(label="Input directory", start="", check=words),
    "batch_output_dir": Own(label="Output directory", start="", check=words),
    "batch_mask_dir": Own(
        label="Inpaint batch mask directory (required for inpaint batch processing only)", start="", check=words
    ),
    "batch_use_png_info": Own(label="Append png info to prompts", start=False, check=switch),
    "batch_png_info_dir": Own(label="PNG info directory", start="", check=words),
    "batch_png_info_props": Own(label="Parameters to take from png info", start=[], check=several(*PNG_INFO)),
}
"""Every field that this tab has and txt2img has not."""

_CHOICES = {
    "resize_mode": RESIZE_MODES,
    "inpainting_fill": MASKED_CONTENT,
    "inpainting_mask_invert": MASK_MODES,
    "inpaint_full_res": INPAINT_AREAS,
}
LABELS = {"denoising_strength": "Denoising strength", **{name: own.label for name, own in OWN.items()}}
COMMON = tuple(
    name
    for name in FIELDS
    if name in GenerationRequest.model_fields or name in FLAT or name in UNITS or name in (MODULES, seed_form.SHOW)
)  # with txt2img


def request_of(values: dict[str, Any]) -> Img2ImgRequest:
    """The request of the page's values: `init_images`, `mask` and the rest as Img2ImgRequest has them, OWN's as they are shown."""
    own = own_values(values)
    given = {name: value for name, value in values.items() if name not in OWN}
    given.setdefault("init_images", (NOTHING,))
    given.update({name: choices.index(own[name]) for name, choices in _CHOICES.items()})
    given.update(mask_blur_x=own["mask_blur"], mask_blur_y=own["mask_blur"])
    given.update({name: own[name] for name in ("image_cfg_scale", "inpaint_full_res_padding", ONLY)})
    if own["soft_inpainting"]:
        given["soft_inpainting"] = {name: own[name] for name in SOFT}
    return make_img2img_request(given)


def own_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of OWN, checked; what is not among the values is as it begins."""
    return {name: own.check(name, values.get(name, own.start)) for name, own in OWN.items()}


def read_infotext(text: Infotext) -> dict[str, Any]:
    """An infotext's values as this tab shows them."""
    return shown_values(to_img2img_values(text))


def shown_values(values: dict[str, Any]) -> dict[str, Any]:
    """A request's values as this tab shows them; what it shows otherwise is changed, the rest stays."""
    found = dict(values)
    if "mask_blur_x" in found:
        found["mask_blur"] = found.pop("mask_blur_x")
        found.pop("mask_blur_y", None)
    soft = found.pop("soft_inpainting", None)
    return {**found, "soft_inpainting": soft is not None, **(soft or {})}


def _checks() -> dict[str, Callable[[Any], Any]]:
    def of(name: str) -> Callable[[Any], Any]:
        return lambda value: OWN[name].check(name, value)

    return {name: of(name) for name in OWN}


IMG2IMG = Form(
    names=(*COMMON, *LABELS),
    make=request_of,
    starts={**UNIT_STARTS, **STARTS, **{name: own.start for name, own in OWN.items()}},
    checks={**UNIT_CHECKS, **CHECKS, **_checks()},
    read=read_infotext,
)
