"""A1111's `alwayson_scripts`: Forge's built-in techniques, by their titles and in the order of their arguments."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modules.api.control import TITLES as CONTROL
from modules.api.control import read_units as read_control
from modules.api.detail import TITLE as UNITS
from modules.api.detail import read_units
from modules.api.dynamic_args import TITLE as TEMPLATES
from modules.api.dynamic_args import read_dynamic
from modules.api.tiled_args import read_forge, read_tiled
from modules.core.errors import InputError, short
from modules.requests.img2img import SoftInpainting

FIELD = "alwayson_scripts"

# title -> (request field, the names of its arguments after "enabled")
SCRIPTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "FreeU Integrated (SD 1.x, SD 2.x, SDXL)": ("freeu", ("b1", "b2", "s1", "s2", "start", "end")),
    "SelfAttentionGuidance Integrated (SD 1.x, SD 2.x, SDXL)": (
        "self_attention_guidance",
        ("scale", "blur_sigma", "threshold"),
    ),
    "PerturbedAttentionGuidance Integrated": (
        "perturbed_attention_guidance",
        ("scale", "attenuation", "start_step", "end_step"),
    ),
    "DynamicThresholding (CFG-Fix) Integrated": (
        "dynamic_thresholding",
        (
            *("mimic_scale", "threshold_percentile", "mimic_mode", "mimic_scale_min", "cfg_mode", "cfg_scale_min"),
            *("sched_val", "separate_feature_channels", "scaling_startpoint", "variability_measure", "interpolate_phi"),
        ),
    ),
}

# title -> (request field, what reads the arguments after "enabled")
READERS: dict[str, tuple[str, Callable[[str, Sequence[Any]], dict[str, Any]]]] = {
    "Tiled Diffusion": ("tiled_diffusion", read_tiled),
    "MultiDiffusion Integrated": ("tiled_diffusion", read_forge),
}
IMG2IMG_SCRIPTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Soft Inpainting": ("soft_inpainting", tuple(SoftInpainting.model_fields)),
}
"""The same of those that are of img2img alone."""

# Arguments that this version has at one value alone, and those that have no effect at these values.
FIXED: dict[str, Any] = {
    "mimic_mode": "Constant",
    "cfg_mode": "Constant",
    "scaling_startpoint": "MEAN",
    "variability_measure": "AD",
    "attenuation": 0,
    "start_step": 0,
    "end_step": 1,
}
WITHOUT_EFFECT = ("mimic_scale_min", "cfg_scale_min", "sched_val")


def read_scripts(scripts: Mapping[str, Any], *, img2img: bool = False) -> dict[str, Any]:
    """Request fields of the scripts that are enabled; raises InputError for one that is not there. Missing arguments are
    the defaults, as in A1111."""
    there = {**SCRIPTS, **(IMG2IMG_SCRIPTS if img2img else {})}
    known = {title.casefold(): title for title in (*there, *READERS, UNITS, *CONTROL)}
    found: dict[str, Any] = {}
    for given, value in scripts.items():
        if given.strip().casefold().startswith(TEMPLATES.casefold()):
            found.update(read_dynamic(FIELD, _arguments(TEMPLATES, value)))
            continue
        title = known.get(given.strip().casefold())
        if title is None:
            said = short(json.dumps(scripts, ensure_ascii=False))
            raise InputError(
                FIELD, f"{FIELD} is {said}: the script {short(given)} is not part of this version; leave it out."
            )
        arguments = _arguments(title, value)
        if title in CONTROL:
            found.update(read_control(FIELD, arguments))
            continue
        if title == UNITS:
            found.update(read_units(FIELD, arguments, img2img=img2img))
            continue
        if arguments and arguments[0] not in (True, False):
            raise InputError(FIELD, f'{FIELD} holds {short(arguments[0])} as first of "{title}": send true or false.')
        if arguments and arguments[0] and title in READERS:
            field, read = READERS[title]
            found[field] = read(FIELD, arguments[1:])
        elif arguments and arguments[0]:
            field, names = there[title]
            found[field] = _values(title, dict(zip(names, arguments[1:], strict=False)))
    return found


def _arguments(title: str, value: Any) -> list[Any]:
    arguments = value.get("args", []) if isinstance(value, dict) else None
    if not isinstance(arguments, list):
        raise InputError(FIELD, f'{FIELD} holds {short(value)} for "{title}": send an object with a list "args".')
    return arguments


def _values(title: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the technique's values; raises InputError for what this version has not."""
    for name, only in FIXED.items():
        if arguments.get(name, only) != only:
            raise InputError(
                FIELD,
                f'{FIELD} holds {short(arguments[name])} as {name} of "{title}": this version has {short(only)} alone; send that.',
            )
    return {name: value for name, value in arguments.items() if name not in (*FIXED, *WITHOUT_EFFECT)}
