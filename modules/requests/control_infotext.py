"""What an infotext says of ControlNet units: `ControlNet 0: "Module: canny, Model: ..., Weight: 1.0, ..."`, as the extension has it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from modules.requests.control import MAX_UNITS, ControlUnit

ALWAYS = {
    "module": "Module",
    "model": "Model",
    "weight": "Weight",
    "resize_mode": "Resize Mode",
    "processor_res": "Processor Res",
    "threshold_a": "Threshold A",
    "threshold_b": "Threshold B",
    "guidance_start": "Guidance Start",
    "guidance_end": "Guidance End",
    "pixel_perfect": "Pixel Perfect",
    "control_mode": "Control Mode",
}
"""The extension's keys, in its order; numbers that are -1 are left out."""

SOMETIMES = {
    "hr_option": "Hr Option",
    "union_control_type": "Union Control Type",
    "weight_type": "Weight Type",
    "composition_weight": "Composition Weight",
    "low_vram": "Low Vram",
    "input_mode": "Input Mode",
    "advanced_weighting": "Advanced Weighting",
    "inpaint_crop_input_image": "Inpaint Crop Input Image",
}
"""Keys that are told where the value is not the usual one."""

_OLD = {
    "preprocessor": "module",
    "model": "model",
    "weight": "weight",
    "resize mode": "resize_mode",
    "pixel perfect": "pixel_perfect",
    "control mode": "control_mode",
    "hr option": "hr_option",
}
"""The keys that versions before 1.1.4 wrote."""

_PAIR = re.compile(r"([A-Za-z][A-Za-z /-]*): (\([^)]*\)|[^,(]*(?:\([^)]*\)[^,]*)?)(?:, |$)")
_NAMES = {key.casefold(): name for name, key in (*ALWAYS.items(), *SOMETIMES.items())}


def key_of(number: int) -> str:
    """The infotext's key of the unit of that number, from 0."""
    return f"ControlNet {number}"


def told(units: tuple[ControlUnit, ...]) -> dict[str, str]:
    """The infotext's fields of those units that do something."""
    return {key_of(number): unit_text(unit) for number, unit in enumerate(units) if unit.active}


def unit_text(unit: ControlUnit) -> str:
    """One unit in words."""
    found = {key: getattr(unit, name) for name, key in ALWAYS.items()}
    for name, key in SOMETIMES.items():
        value = getattr(unit, name)
        if value != ControlUnit.model_fields[name].default:
            found[key] = "/".join(map(str, value)) if isinstance(value, tuple) else value
    return ", ".join(f"{key}: {value}" for key, value in found.items() if value not in (-1, ""))


def read_unit(text: str) -> dict[str, Any]:
    """The fields of a unit that an infotext tells of; what is not understood is left out. Linear in the text's length."""
    pairs = {match[1].strip().casefold(): match[2].strip() for match in _PAIR.finditer(text[:4000])}
    found: dict[str, Any] = {}
    for key, value in pairs.items():
        name = _OLD.get(key) if "preprocessor" in pairs else _NAMES.get(key)
        if name == "advanced_weighting":
            found[name] = value.split("/")
        elif name:
            found[name] = value
    found |= dict(zip(("guidance_start", "guidance_end"), _numbers(pairs.get("starting/ending", "")), strict=False))
    old = _numbers(pairs.get("preprocessor params", ""))
    found |= dict(zip(("processor_res", "threshold_a", "threshold_b"), old, strict=False))
    return found


def read_told(fields: Mapping[str, str]) -> dict[int, dict[str, Any]]:
    """The units in an infotext's fields, by their numbers."""
    return {n: unit for n in range(MAX_UNITS) if (unit := read_unit(fields.get(key_of(n), "")))}


def told_keys() -> Iterator[str]:
    """All keys that `told` may write."""
    return (key_of(number) for number in range(MAX_UNITS))


def _numbers(text: str) -> list[str]:
    return [part.strip() for part in text.strip("()").split(",") if part.strip()]
