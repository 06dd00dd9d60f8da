"""What an infotext says of img2img and inpainting, as values of a request, and what it says of soft inpainting."""

from collections.abc import Mapping
from typing import Any

from modules.images.infotext import Infotext, to_request_values
from modules.requests.img2img import INPAINT_AREAS, MASK_MODES, MASKED_CONTENT, SoftInpainting

SOFT = "Soft inpainting"
ENABLED = f"{SOFT} enabled"
SOFT_KEYS = {
    f"{SOFT} schedule bias": "mask_blend_power",
    f"{SOFT} preservation strength": "mask_blend_scale",
    f"{SOFT} transition contrast boost": "inpaint_detail_preservation",
    f"{SOFT} mask influence": "composite_mask_influence",
    f"{SOFT} difference threshold": "composite_difference_threshold",
    f"{SOFT} difference contrast": "composite_difference_contrast",
}
"""A1111's keys -> fields of SoftInpainting."""

_FIELDS = {
    "Denoising strength": ("denoising_strength",),
    "Image CFG scale": ("image_cfg_scale",),
    "Mask blur": ("mask_blur_x", "mask_blur_y"),
    "Masked area padding": ("inpaint_full_res_padding",),
    "Mask rounding": ("mask_round",),
}
_CHOICES = {
    "Mask mode": ("inpainting_mask_invert", MASK_MODES),
    "Masked content": ("inpainting_fill", MASKED_CONTENT),
    "Inpaint area": ("inpaint_full_res", INPAINT_AREAS),
}
_UNSAID = {"Mask mode": "Inpaint masked", "Masked content": "original", "Inpaint area": "Whole picture"}
"""What an infotext means that does not say it, where it tells of a mask's blur or area."""


def to_img2img_values(text: Infotext) -> dict[str, Any]:
    """The infotext as values of an Img2ImgRequest, as far as they are there: the pictures are not. Unknown words for a choice are
    passed over; raises InputError on a wrong size."""
    values = to_request_values(text)
    fields: Mapping[str, str] = text.fields
    for key, names in _FIELDS.items():
        if key in fields:
            values.update(dict.fromkeys(names, fields[key]))
    masked = any(key in fields for key in ("Mask blur", *_CHOICES))
    for key, (name, choices) in _CHOICES.items():
        word = fields.get(key, _UNSAID[key] if masked else None)
        if word in choices:
            values[name] = choices.index(word)
    if fields.get(ENABLED) == "True":
        values["soft_inpainting"] = {name: fields[key] for key, name in SOFT_KEYS.items() if key in fields}
    return values


def img2img_keys() -> frozenset[str]:
    """The keys that are taken beyond those of text to image."""
    return frozenset((*_FIELDS, *_CHOICES, ENABLED, *SOFT_KEYS))


def soft_fields(soft: SoftInpainting | None) -> dict[str, Any]:
    """A1111's keys for it; none without it."""
    if soft is None:
        return {}
    return {ENABLED: True, **{key: getattr(soft, name) for key, name in SOFT_KEYS.items()}}
