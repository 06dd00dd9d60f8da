"""The detail pass on the page: two units, with all that ADetailer's have, in its groups. The browser holds them as one field, as JSON."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modules.core.errors import InputError
from modules.requests.detail import NONE, DetailUnit
from modules.requests.txt2img import make_request

COUNT = 2
DETAIL = "detail"
LABEL = "ADetailer"
MODEL = "ad_model"
GROUPS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "": ((MODEL, "ad_model_classes"), ("ad_tab_enable",), ("ad_prompt",), ("ad_negative_prompt",)),
    "Detection": (
        ("ad_confidence", "ad_mask_k"),
        ("ad_mask_filter_method",),
        ("ad_mask_min_ratio", "ad_mask_max_ratio"),
    ),
    "Mask Preprocessing": (
        ("ad_x_offset", "ad_y_offset"),
        ("ad_dilate_erode",),
        ("ad_mask_merge_invert",),
    ),
    "Inpainting": (
        ("ad_mask_blur", "ad_denoising_strength"),
        ("ad_inpaint_only_masked", "ad_inpaint_only_masked_padding"),
        ("ad_use_inpaint_width_height", "ad_inpaint_width", "ad_inpaint_height"),
        ("ad_use_steps", "ad_steps"),
        ("ad_use_cfg_scale", "ad_cfg_scale"),
        ("ad_use_checkpoint", "ad_checkpoint"),
        ("ad_use_vae", "ad_vae"),
        ("ad_use_sampler", "ad_sampler", "ad_scheduler"),
        ("ad_use_noise_multiplier", "ad_noise_multiplier"),
        ("ad_use_clip_skip", "ad_clip_skip"),
        ("ad_restore_face",),
    ),
    "ControlNet": (
        ("ad_controlnet_model", "ad_controlnet_module"),
        ("ad_controlnet_weight", "ad_controlnet_guidance_start", "ad_controlnet_guidance_end"),
    ),
}
"""Title of what is folded ("": what is always seen) -> rows of a unit's parts."""

TEXTS = ("ad_model_classes", "ad_prompt", "ad_negative_prompt")
SAME = {"ad_checkpoint": "Use same checkpoint", "ad_vae": "Use same VAE"}
"""What a menu shows for none."""

MENUS = (MODEL, *SAME, "ad_sampler", "ad_scheduler", "ad_controlnet_model", "ad_controlnet_module")
PARTS = tuple(part for rows in GROUPS.values() for row in rows for part in row)


def named(part: str, n: int) -> str:
    """The page's field for that part of the unit of that number, from 0."""
    return f"{part}_{n + 1}"


UNITS = {named(part, n): (n, part) for n in range(COUNT) for part in PARTS}
"""The page's fields: which unit's, and which of its parts."""

ONLY = "detail_only"
"""Of img2img alone: the passes change the picture as it is given."""

HELD = (*UNITS, ONLY)
"""What the page's one field holds."""

UNIT_LABELS = {name: f"{DetailUnit.model_fields[part].title} ({n + 1})" for name, (n, part) in UNITS.items()}
LABELS = {**UNIT_LABELS, ONLY: "Skip img2img"}
UNIT_STARTS: dict[str, Any] = {
    name: SAME.get(part, DetailUnit.model_fields[part].default) for name, (_, part) in UNITS.items()
}


def page_fields(names: Iterable[str]) -> tuple[str, ...]:
    """A form's fields as the page has them: one for all that belongs to the units."""
    names = tuple(names)
    rest = tuple(name for name in names if name not in HELD)
    return rest if len(rest) == len(names) else (*rest, DETAIL)


def packed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with those of the units as the page's one field; without any, without it."""
    units = {name: value for name, value in values.items() if name in HELD}
    rest = {name: value for name, value in values.items() if name not in HELD}
    return {**rest, DETAIL: json.dumps(units)} if units else rest


def unpacked(values: Mapping[str, Any]) -> dict[str, Any]:
    """The other way round. Anything may be in a browser: what are no units counts as none."""
    found = {name: value for name, value in values.items() if name != DETAIL}
    try:
        units = json.loads(values.get(DETAIL) or "{}")
    except (TypeError, ValueError, RecursionError):
        units = {}
    if not isinstance(units, dict):
        units = {}
    return found | {name: value for name, value in units.items() if name in HELD}


def gathered_units(values: Mapping[str, Any]) -> dict[str, Any]:
    """The request's `detail` from the page's values; nothing if no unit has a detector."""
    units = [
        {part: values[name] for name, (n, part) in UNITS.items() if n == i and name in values} for i in range(COUNT)
    ]
    for unit in units:
        unit[MODEL] = unit.get(MODEL) or NONE
        unit |= {part: None for part, same in SAME.items() if unit.get(part) == same}
    return {"detail": units} if any(unit[MODEL] != NONE for unit in units) else {}


def told_units(units: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], list[InputError]]:
    """The page's values for an infotext's units (without any: no detector; what one does not tell of is as it begins), and what of them
    has no field here or is wrong."""
    found: dict[str, Any] = {name: NONE for name, (_, part) in UNITS.items() if part == MODEL}
    wrong = []
    for n, unit in enumerate(units):
        found |= {name: UNIT_STARTS[name] for name, (number, _) in UNITS.items() if number == n}
        for part, value in unit.items():
            name = named(part, n)
            title = DetailUnit.model_fields[part].title
            if name not in UNITS:
                wrong.append(
                    InputError(name, f'"{title}" ({n + 1}) of the infotext has no field on this page and is left out.')
                )
                continue
            try:
                found[name] = unit_value(name, value)
            except InputError as error:
                wrong.append(error)
    return found, wrong


def unit_value(name: str, value: Any) -> Any:
    """A value for that field as the page may show it; raises InputError."""
    _, part = UNITS[name]
    try:
        found = getattr(make_request({"detail": [{part: value}]}).detail[0], part)
    except InputError as error:
        raise InputError(name, error.message.replace(error.field, name, 1)) from error
    return SAME[part] if found is None else found


def page_name(field: str) -> str | None:
    """The page's field for one of the request, "detail.0.ad_confidence"."""
    first, _, rest = field.partition(".")
    number, _, part = rest.partition(".")
    name = f"{part}_{int(number) + 1}" if number.isdigit() else ""
    return name if first == "detail" and name in UNITS else None


def _check(name: str) -> Callable[[Any], Any]:
    return lambda value: unit_value(name, value)


UNIT_CHECKS = {name: _check(name) for name in UNITS}
